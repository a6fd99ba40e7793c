"""Llama and the dense decoders that differ from it in a switch or two."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import biases, decoder_fields, refuse, windows
from planner.models.huggingface.fields import Config

_LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
}
_MISTRAL = {
    **_LLAMA,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "sliding_window": 4096,
}
_QWEN2 = {
    **_LLAMA,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}


def _llama(config: Config) -> Fields:
    return {
        **decoder_fields(config),
        "gated_mlp": True,
        "biases": biases(attention=config.flag("attention_bias"), mlp=config.flag("mlp_bias")),
    }


def _mistral(config: Config) -> Fields:
    return {**_llama(config), **windows(config)}


def _qwen2(config: Config) -> Fields:
    return {**_llama(config), "biases": "qkv", **qwen_windows(config)}


def _qwen3(config: Config) -> Fields:
    return {**_llama(config), "qk_norm": "head_dim", **qwen_windows(config)}


def qwen_windows(config: Config) -> Fields:
    """Layers from ``max_window_layers`` on are local when ``use_sliding_window`` is set."""
    if not config.flag("use_sliding_window"):
        return {}
    if config.names("layer_types"):
        return windows(config)
    layers, first = config.size("num_hidden_layers"), config.size("max_window_layers")
    if first >= layers:
        return {}
    pattern = tuple("global" if index < first else "local" for index in range(layers))
    return {"sliding_window": config.size("sliding_window"), "layer_pattern": pattern}


def _olmo2(config: Config) -> Fields:
    return {**_llama(config), "qk_norm": "heads", "norm_placement": "branch"}


def _olmo(config: Config) -> Fields:
    refuse(config, "mlp_bias")
    return {**_llama(config), "norm": "none"}


def _nemotron(config: Config) -> Fields:
    return {**_llama(config), "gated_mlp": False, "norm": "layer"}


def _cohere(config: Config) -> Fields:
    return {
        **_llama(config),
        "norm": "layer",
        "norm_bias": False,
        "parallel_block": True,
        "qk_norm": "heads" if config.flag("use_qk_norm") else "none",
    }


def _stablelm(config: Config) -> Fields:
    refuse(config, "qk_layernorm")
    return {
        **decoder_fields(config),
        "gated_mlp": True,
        "norm": "layer",
        "biases": biases(qkv=config.flag("use_qkv_bias")),
        "parallel_block": config.flag("use_parallel_residual"),
    }


def _starcoder2(config: Config) -> Fields:
    return {
        **decoder_fields(config),
        "norm": "layer",
        "biases": "all" if config.flag("use_bias") else "none",
        **windows(config),
    }


def _phi(config: Config) -> Fields:
    refuse(config, "qk_layernorm")
    return {
        **decoder_fields(config),
        "norm": "layer",
        "biases": "all",
        "head_bias": True,
        "parallel_block": True,
    }


ARCHITECTURES = (
    Architecture("LlamaForCausalLM", "llama", _llama, _LLAMA),
    Architecture("MistralForCausalLM", "mistral", _mistral, _MISTRAL),
    Architecture("Qwen2ForCausalLM", "qwen2", _qwen2, _QWEN2),
    Architecture("Qwen3ForCausalLM", "qwen3", _qwen3, {**_QWEN2, "head_dim": 128}),
    Architecture(
        "Phi3ForCausalLM",
        "phi3",
        _mistral,
        {
            **_LLAMA,
            "vocab_size": 32064,
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "max_position_embeddings": 4096,
            "sliding_window": None,
        },
    ),
    Architecture("GraniteForCausalLM", "granite", _llama, _LLAMA),
    Architecture("Olmo2ForCausalLM", "olmo2", _olmo2, {**_LLAMA, "vocab_size": 50304}),
    Architecture("OlmoForCausalLM", "olmo", _olmo, {**_LLAMA, "vocab_size": 50304}),
    Architecture(
        "NemotronForCausalLM",
        "nemotron",
        _nemotron,
        {
            **_LLAMA,
            "vocab_size": 256000,
            "hidden_size": 6144,
            "intermediate_size": 24576,
            "num_attention_heads": 48,
            "hidden_act": "relu2",
            "max_position_embeddings": 4096,
        },
    ),
    Architecture(
        "CohereForCausalLM",
        "cohere",
        _cohere,
        {
            **_LLAMA,
            "vocab_size": 256000,
            "hidden_size": 8192,
            "intermediate_size": 22528,
            "num_hidden_layers": 40,
            "num_attention_heads": 64,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "use_qk_norm": False,
        },
    ),
    Architecture(
        "StableLmForCausalLM",
        "stablelm",
        _stablelm,
        {
            **_LLAMA,
            "vocab_size": 50304,
            "hidden_size": 2560,
            "intermediate_size": 6912,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
            "use_qkv_bias": False,
            "qk_layernorm": False,
            "use_parallel_residual": False,
        },
    ),
    Architecture(
        "Starcoder2ForCausalLM",
        "starcoder2",
        _starcoder2,
        {
            **_LLAMA,
            "vocab_size": 49152,
            "hidden_size": 3072,
            "intermediate_size": 12288,
            "num_hidden_layers": 30,
            "num_attention_heads": 24,
            "num_key_value_heads": 2,
            "hidden_act": "gelu_pytorch_tanh",
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,
            "use_bias": True,
            "sliding_window": None,
        },
    ),
    Architecture(
        "PhiForCausalLM",
        "phi",
        _phi,
        {
            **_LLAMA,
            "vocab_size": 51200,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "hidden_act": "gelu_new",
            "qk_layernorm": False,
        },
    ),
)
