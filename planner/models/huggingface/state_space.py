"""Mamba-2."""

from __future__ import annotations

from planner.models.huggingface.architecture import Architecture, Fields
from planner.models.huggingface.fields import Config


def _mamba2(config: Config) -> Fields:
    hidden, heads, head_dim = config.size("hidden_size"), config.size("num_heads"), config.size("head_dim")
    inner = config.number("expand") * hidden
    if heads * head_dim != inner:
        raise config.fault(
            "num_heads", f"found {heads}; num_heads x head_dim must be expand x hidden_size = {inner:g}"
        )
    return {
        "family": "mamba2",
        "layers": config.size("num_hidden_layers"),
        "hidden": hidden,
        "vocab": config.size("vocab_size"),
        "positions": "none",
        "tied_embeddings": config.flag("tie_word_embeddings"),
        "mamba2": {
            "state": config.size("state_size"),
            "groups": config.size("n_groups"),
            "conv": config.size("conv_kernel"),
            "expand": config.number("expand"),
            "head_dim": head_dim,
            "conv_bias": config.flag("use_conv_bias"),
            "biases": config.flag("use_bias"),
        },
    }


ARCHITECTURES = (
    Architecture(
        "Mamba2ForCausalLM",
        "mamba2",
        _mamba2,
        {
            "vocab_size": 32768,
            "hidden_size": 4096,
            "num_hidden_layers": 64,
            "num_heads": 128,
            "head_dim": 64,
            "state_size": 128,
            "expand": 2,
            "conv_kernel": 4,
            "n_groups": 8,
            "use_bias": False,
            "use_conv_bias": True,
            "tie_word_embeddings": False,
        },
    ),
)
