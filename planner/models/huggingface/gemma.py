"""Gemma: gated GELU, tied embeddings, sandwich norms and alternating windows from the second generation on."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.common import activation, biases, decoder_fields, windows
from planner.models.huggingface.fields import Config

_BASE = {
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
    "layer_types": None,
    "attn_logit_softcapping": None,
    "final_logit_softcapping": None,
}


def _gemma(config: Config) -> Fields:
    return {
        **decoder_fields(config),
        "gated_mlp": True,
        "biases": biases(attention=config.flag("attention_bias")),
    }


def _gemma2(config: Config) -> Fields:
    return {
        **_gemma(config),
        "activation": activation(config, "hidden_activation"),
        "norm_placement": "sandwich",
        "attention_soft_cap": config.get("attn_logit_softcapping") is not None,
        "final_soft_cap": config.get("final_logit_softcapping") is not None,
        **windows(config, period=2),
    }


def _gemma3(config: Config) -> Fields:
    return {
        **_gemma2(config),
        "qk_norm": "head_dim",
        **windows(config, period=config.size("sliding_window_pattern")),
    }


ARCHITECTURES = (
    Architecture(
        "GemmaForCausalLM",
        "gemma",
        _gemma,
        {
            **_BASE,
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
        },
    ),
    Architecture(
        "Gemma2ForCausalLM",
        "gemma2",
        _gemma2,
        {**_BASE, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    ),
    Architecture(
        "Gemma3ForCausalLM",
        "gemma3_text",
        _gemma3,
        {**_BASE, "vocab_size": 262208, "max_position_embeddings": 131072},
        {"sliding_window_pattern": "_sliding_window_pattern"},
    ),
)
