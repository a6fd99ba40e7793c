"""Mixtures of experts with ordinary attention."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import biases, decoder_fields, windows
from planner.models.huggingface.fields import Config
from planner.models.huggingface.llama import qwen_windows

_BASE = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "sliding_window": None,
    "attention_bias": False,
    "layer_types": None,
}
_QWEN = {
    **_BASE,
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 24,
    "max_position_embeddings": 32768,
    "decoder_sparse_step": 1,
    "mlp_only_layers": None,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def _mixtral(config: Config) -> Fields:
    moe = {
        "experts": config.size("num_local_experts"),
        "topk": config.size("num_experts_per_tok"),
        "moe_ffn": config.size("intermediate_size"),
    }
    return {**decoder_fields(config), "ffn_hidden": None, "gated_mlp": True, "moe": moe, **windows(config)}


def _gpt_oss(config: Config) -> Fields:
    # the limit is a constant of transformers' GptOssExperts
    moe = {**_mixtral(config)["moe"], "router_bias": True, "expert_bias": True, "activation_limit": 7.0}
    return {
        **_mixtral(config),
        "biases": biases(attention=config.flag("attention_bias")),
        "attention_sinks": True,
        "moe": moe,
        **windows(config, period=2),
    }


def _qwen2_moe(config: Config) -> Fields:
    shared = {
        "shared_experts": 1,
        "shared_ffn_total": config.size("shared_expert_intermediate_size"),
        "shared_gate": True,
    }
    return {
        **decoder_fields(config),
        "gated_mlp": True,
        "biases": biases(qkv=config.flag("qkv_bias")),
        "moe": {**_qwen_experts(config), **shared},
        **qwen_windows(config),
    }


def _qwen3_moe(config: Config) -> Fields:
    return {
        **decoder_fields(config),
        "gated_mlp": True,
        "biases": biases(attention=config.flag("attention_bias")),
        "qk_norm": "head_dim",
        "moe": _qwen_experts(config),
        **qwen_windows(config),
    }


def _qwen_experts(config: Config) -> Fields:
    """Layers in ``mlp_only_layers`` stay dense; that list must be the first n layers."""
    dense = config.get("mlp_only_layers") or []
    every = config.size("decoder_sparse_step")
    if not isinstance(dense, list) or dense != list(range(len(dense))) or (dense and every > 1):
        raise config.fault("mlp_only_layers", f"found {dense!r}; only the first n layers can be dense here")
    return {
        "experts": config.size("num_experts"),
        "topk": config.size("num_experts_per_tok"),
        "moe_ffn": config.size("moe_intermediate_size"),
        "dense_layers": len(dense),
        "every": every,
    }


def _olmoe(config: Config) -> Fields:
    moe = {
        "experts": config.size("num_experts"),
        "topk": config.size("num_experts_per_tok"),
        "moe_ffn": config.size("intermediate_size"),
    }
    return {
        **decoder_fields(config),
        "ffn_hidden": None,
        "gated_mlp": True,
        "biases": biases(attention=config.flag("attention_bias")),
        "qk_norm": "heads",
        "moe": moe,
    }


ARCHITECTURES = (
    Architecture("MixtralForCausalLM", "mixtral", _mixtral, _BASE),
    Architecture(
        "GptOssForCausalLM",
        "gpt_oss",
        _gpt_oss,
        {
            **_BASE,
            "vocab_size": 201088,
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "num_hidden_layers": 36,
            "num_attention_heads": 64,
            "head_dim": 64,
            "num_local_experts": 128,
            "num_experts_per_tok": 4,
            "sliding_window": 128,
            "attention_bias": True,
        },
    ),
    Architecture(
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        _qwen2_moe,
        {
            **_QWEN,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "qkv_bias": True,
        },
    ),
    Architecture(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        _qwen3_moe,
        {
            **_QWEN,
            "intermediate_size": 6144,
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
        },
        {"num_experts": "num_local_experts"},
    ),
    Architecture(
        "OlmoeForCausalLM",
        "olmoe",
        _olmoe,
        {
            **_BASE,
            "vocab_size": 50304,
            "hidden_size": 2048,
            "intermediate_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
            "num_key_value_heads": None,
            "max_position_embeddings": 4096,
            "num_experts": 64,
            "num_experts_per_tok": 8,
        },
    ),
)
