"""DeepSeek-V2 and V3: latent attention, shared experts, dense first layers."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import biases, decoder_fields, refuse
from planner.models.huggingface.fields import Config

_V2 = {
    "vocab_size": 102400,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 0,
    "kv_lora_rank": 512,
    "q_lora_rank": None,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": None,
    "moe_intermediate_size": 1407,
}
_V3 = {
    **_V2,
    "vocab_size": 129280,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "max_position_embeddings": 4096,
    "first_k_dense_replace": 3,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
}


def _deepseek_v2(config: Config) -> Fields:
    return _deepseek(config, "softmax")


def _deepseek_v3(config: Config) -> Fields:
    """As transformers builds it: without the multi-token prediction module, whatever num_nextn_predict_layers says."""
    return _deepseek(config, "sigmoid")


def _deepseek(config: Config, score: str) -> Fields:
    refuse(config, "mlp_bias")
    refuse(config, "moe_layer_freq", 1)
    mla = {
        "q_lora_rank": config.optional_size("q_lora_rank"),
        "kv_lora_rank": config.size("kv_lora_rank"),
        "qk_nope_head_dim": config.size("qk_nope_head_dim"),
        "qk_rope_head_dim": config.size("qk_rope_head_dim"),
        "v_head_dim": config.size("v_head_dim"),
    }
    dense_layers = config.count("first_k_dense_replace")
    moe = {
        "experts": config.size("n_routed_experts"),
        "topk": config.size("num_experts_per_tok"),
        "moe_ffn": config.size("moe_intermediate_size"),
        "shared_experts": config.count("n_shared_experts"),
        "dense_layers": dense_layers,
        "score": score,
    }
    return {
        **decoder_fields(config),
        # The file's num_key_value_heads and head_dim describe the cache, not the projections.
        "kv_heads": None,
        "head_dim": None,
        "gated_mlp": True,
        "biases": biases(attention=config.flag("attention_bias")),
        "mla": mla,
        "moe": moe if dense_layers < config.size("num_hidden_layers") else None,
    }


ARCHITECTURES = (
    Architecture("DeepseekV2ForCausalLM", "deepseek_v2", _deepseek_v2, {**_V2, "q_lora_rank": 1536}),
    Architecture("DeepseekV3ForCausalLM", "deepseek_v3", _deepseek_v3, {**_V3, "q_lora_rank": 1536}),
)
