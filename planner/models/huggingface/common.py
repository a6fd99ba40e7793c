"""What most architectures have in common."""

from __future__ import annotations

from typing import Any

from planner.models.huggingface.architecture import Fields
from planner.models.huggingface.fields import Config

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "quick_gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu2": "relu2",
}


def decoder_fields(config: Config, ffn_hidden: int | None = None) -> Fields:
    """Sizes, activation and tying of a decoder with the usual field names; ``ffn_hidden`` where the file need not say."""
    return {
        "layers": config.size("num_hidden_layers"),
        "hidden": config.size("hidden_size"),
        "heads": config.size("num_attention_heads"),
        "kv_heads": config.optional_size("num_key_value_heads"),
        "head_dim": config.optional_size("head_dim"),
        "ffn_hidden": ffn_hidden or config.size("intermediate_size"),
        "activation": activation(config, "hidden_act"),
        "vocab": config.size("vocab_size"),
        "seq_len": config.size("max_position_embeddings"),
        "tied_embeddings": config.flag("tie_word_embeddings"),
    }


def activation(config: Config, name: str) -> str:
    """The pointwise function that a field names.

    Raises:
        PlannerError: one that the operators do not know.
    """
    value = config.get(name)
    if not isinstance(value, str) or value not in _ACTIVATIONS:
        raise config.fault(name, f"found {value!r}; accepted: {', '.join(sorted(_ACTIVATIONS))}")
    return _ACTIVATIONS[value]


def biases(*, attention: bool = False, mlp: bool = False, qkv: bool = False) -> str:
    """The ``biases`` field from the projections that have one."""
    if attention and mlp:
        return "all"
    if attention:
        return "attention"
    if qkv:
        return "qkv"
    return "mlp" if mlp else "none"


def refuse(config: Config, name: str, accepted: Any = False) -> None:
    """Rejects a field with a value whose effect on the layers is not modelled."""
    value = config.get(name)
    if value is not None and value != accepted:
        raise config.fault(name, f"found {value!r}, which is not modelled; accepted: {accepted!r}")


def windows(config: Config, period: int | None = None) -> Fields:
    """Sliding window and which layers have it.

    Args:
        period: without ``layer_types`` in the file, every period-th layer is global; None: all layers are local.
    """
    window = config.optional_size("sliding_window")
    kinds = config.names("layer_types")
    names = {"full_attention": "global", "sliding_attention": "local"}
    unknown = next((kind for kind in kinds if kind not in names), None)
    if unknown is not None:
        raise config.fault(
            "layer_types", f"found '{unknown}', which is not modelled; accepted: {', '.join(names)}"
        )
    if window is None or (kinds and "sliding_attention" not in kinds):
        return {}
    pattern = tuple(names[kind] for kind in kinds)
    if not pattern and period is not None:
        pattern = ("local",) * (period - 1) + ("global",)
    return {"sliding_window": window, "layer_pattern": pattern}
