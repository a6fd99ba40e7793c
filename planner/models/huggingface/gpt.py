"""GPT-2 and its relatives: layer norms with biases, plain MLPs."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import activation, biases, decoder_fields, refuse
from planner.models.huggingface.fields import Config

_GPT2_NAMES = {
    "num_hidden_layers": "n_layer",
    "hidden_size": "n_embd",
    "num_attention_heads": "n_head",
    "intermediate_size": "n_inner",
    "max_position_embeddings": "n_positions",
    "hidden_act": "activation_function",
}


def _gpt2(config: Config) -> Fields:
    refuse(config, "add_cross_attention")
    return {
        **_gpt_fields(config),
        "norm": "layer",
        "biases": "all",
        "positions": "learned",
        "learned_positions": config.size("max_position_embeddings"),
    }


def _gptj(config: Config) -> Fields:
    return {
        **_gpt_fields(config),
        "norm": "layer",
        "biases": "mlp",
        "head_bias": True,
        "parallel_block": True,
    }


def _gpt_fields(config: Config) -> Fields:
    """The usual sizes; the inner width is 4 x hidden when the file states none."""
    inner = config.optional_size("intermediate_size") or 4 * config.size("hidden_size")
    return decoder_fields(config, inner)


def _gpt_neox(config: Config) -> Fields:
    return {
        **decoder_fields(config),
        "norm": "layer",
        "biases": biases(attention=config.flag("attention_bias"), mlp=True),
        "parallel_block": config.flag("use_parallel_residual"),
        "parallel_norms": 2,
    }


def _opt(config: Config) -> Fields:
    refuse(config, "word_embed_proj_dim", config.size("hidden_size"))
    refuse(config, "layer_norm_elementwise_affine", True)
    before = config.flag("do_layer_norm_before")
    return {
        **decoder_fields(config),
        "norm": "layer",
        "norm_placement": "pre" if before else "post",
        "final_norm": before and not config.flag("_remove_final_layer_norm"),
        "biases": "all" if config.flag("enable_bias") else "none",
        "positions": "learned",
        # The first two rows of the table are reserved for padding.
        "learned_positions": config.size("max_position_embeddings") + 2,
    }


def _bloom(config: Config) -> Fields:
    hidden = config.size("hidden_size")
    return {
        "layers": config.size("num_hidden_layers"),
        "hidden": hidden,
        "heads": config.size("num_attention_heads"),
        "ffn_hidden": 4 * hidden,
        "vocab": config.size("vocab_size"),
        "seq_len": config.size("seq_length"),
        "norm": "layer",
        "biases": "all",
        "positions": "alibi",
        "embedding_norm": True,
        "tied_embeddings": config.flag("tie_word_embeddings"),
    }


def _mpt(config: Config) -> Fields:
    refuse(config, "expansion_ratio", 4)
    hidden = config.size("hidden_size")
    return {
        "layers": config.size("num_hidden_layers"),
        "hidden": hidden,
        "heads": config.size("num_attention_heads"),
        "ffn_hidden": 4 * hidden,
        "vocab": config.size("vocab_size"),
        "seq_len": config.size("max_position_embeddings"),
        "norm": "layer",
        "norm_bias": False,
        "positions": "alibi",
        "tied_embeddings": config.flag("tie_word_embeddings"),
    }


def _falcon(config: Config) -> Fields:
    new = config.flag("new_decoder_architecture")
    heads = config.size("num_attention_heads")
    norms = config.optional_size("num_ln_in_parallel_attn") or 2
    if new:
        kv_heads = config.optional_size("num_kv_heads") or heads
    else:
        kv_heads = 1 if config.flag("multi_query") else heads
    hidden = config.size("hidden_size")
    return {
        "layers": config.size("num_hidden_layers"),
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "ffn_hidden": config.optional_size("ffn_hidden_size") or 4 * hidden,
        "activation": activation(config, "activation"),
        "vocab": config.size("vocab_size"),
        "seq_len": config.size("max_position_embeddings"),
        "norm": "layer",
        "biases": "all" if config.flag("bias") else "none",
        "positions": "alibi" if config.flag("alibi") else "rope",
        "parallel_block": new or config.flag("parallel_attn"),
        "parallel_norms": 2 if new and norms == 2 else 1,
        "tied_embeddings": config.flag("tie_word_embeddings"),
    }


ARCHITECTURES = (
    Architecture(
        "GPT2LMHeadModel",
        "gpt2",
        _gpt2,
        {
            "vocab_size": 50257,
            "max_position_embeddings": 1024,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "hidden_act": "gelu_new",
            "tie_word_embeddings": True,
            "add_cross_attention": False,
        },
        _GPT2_NAMES,
    ),
    Architecture(
        "GPTJForCausalLM",
        "gptj",
        _gptj,
        {
            "vocab_size": 50400,
            "max_position_embeddings": 2048,
            "hidden_size": 4096,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "hidden_act": "gelu_new",
            "tie_word_embeddings": False,
        },
        _GPT2_NAMES,
    ),
    Architecture(
        "GPTNeoXForCausalLM",
        "gpt_neox",
        _gpt_neox,
        {
            "vocab_size": 50432,
            "hidden_size": 6144,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "intermediate_size": 24576,
            "hidden_act": "gelu",
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "use_parallel_residual": True,
            "attention_bias": True,
        },
    ),
    Architecture(
        "OPTForCausalLM",
        "opt",
        _opt,
        {
            "vocab_size": 50272,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "intermediate_size": 3072,
            "max_position_embeddings": 2048,
            "num_attention_heads": 12,
            "hidden_act": "relu",
            "do_layer_norm_before": True,
            "enable_bias": True,
            "layer_norm_elementwise_affine": True,
            "tie_word_embeddings": True,
        },
        {"intermediate_size": "ffn_dim", "hidden_act": "activation_function"},
    ),
    Architecture(
        "BloomForCausalLM",
        "bloom",
        _bloom,
        {
            "vocab_size": 250880,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 8,
            "seq_length": 2048,
            "tie_word_embeddings": True,
        },
        {"hidden_size": "n_embed", "num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    ),
    Architecture(
        "MptForCausalLM",
        "mpt",
        _mpt,
        {
            "vocab_size": 50368,
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "expansion_ratio": 4,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
        },
        {
            "hidden_size": "d_model",
            "num_hidden_layers": "n_layers",
            "num_attention_heads": "n_heads",
            "max_position_embeddings": "max_seq_len",
        },
    ),
    Architecture(
        "FalconForCausalLM",
        "falcon",
        _falcon,
        {
            "vocab_size": 65024,
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "activation": "gelu",
            "max_position_embeddings": 2048,
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "alibi": False,
            "bias": False,
            "tie_word_embeddings": True,
        },
        {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "num_kv_heads": "n_head_kv"},
    ),
)
