"""The model of a row as a description that the planner builds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from planner.models.catalogue import list_models, load_spec
from planner.models.spec import ModelSpec
from planner.validation.runs.refusal import lacking, missing
from planner.validation.runs.rows import RowModel, RowMoe

_DETAILS = (
    "activation", "norm", "norm_bias", "norm_placement", "final_norm", "embedding_norm", "biases", "head_bias",
    "positions", "parallel_block", "parallel_norms", "qk_norm", "sliding_window", "layer_pattern",
    "attention_soft_cap", "final_soft_cap", "attention_sinks",
)  # fmt: skip
"""What tables of runs leave out and the architecture decides: taken from a catalogue model of equal widths."""

SIZE_TOLERANCE = 0.15
"""A name such as 13B rounds the number of parameters."""

_MOE_DETAILS = ("router_bias", "expert_bias", "activation_limit", "shared_gate", "score", "every")


def known_architectures() -> tuple[ModelSpec, ...]:
    """Decoders of the catalogue, for the details that rows leave out."""
    specs = (load_spec(name) for name in list_models())
    return tuple(spec for spec in specs if spec.family == "decoder")


def candidates(model: RowModel, architectures: Iterable[ModelSpec]) -> Iterator[tuple[str | None, RowModel]]:
    """What a model may have been: itself where its widths are stated, else catalogue models of the sizes that it names.

    Yields:
        (catalogue name, the model with its widths); (None, the model itself) where nothing is open.
    """
    sizes = [float(text) * 1e9 for text in re.findall(r"(\d+(?:\.\d+)?)B\b", model.name or "")]
    known = model.layers is not None and model.hidden is not None and model.heads is not None
    dense = [spec for spec in architectures if spec.moe is None]
    name = (model.name or "").lower().replace("_", "-")
    alike = [spec for spec in dense if spec.name == name] or [
        spec
        for spec in dense
        if spec.gated_mlp == bool(model.gated_mlp)
        and any(abs((spec.published_parameters or 0) / size - 1.0) < SIZE_TOLERANCE for size in sizes)
    ]
    if known or model.moe is not None or not alike:
        yield None, model
        return
    for spec in alike:
        widths = {
            "layers": spec.layers,
            "hidden": spec.hidden,
            "ffn_hidden": spec.ffn_hidden,
            "heads": spec.heads,
            "kv_heads": spec.key_heads,
            "head_dim": spec.head_dim,
            "vocab": model.vocab or spec.vocab,
            "gated_mlp": spec.gated_mlp,
        }
        yield spec.name, model.model_copy(update=widths)


def describe(
    model: RowModel, architectures: Iterable[ModelSpec], *, vocab: int, padding: int
) -> dict[str, Any]:
    """The fields of ``ModelSpec`` for a row's model.

    Args:
        architectures: decoders whose details a row of equal widths shares.
        vocab: tokens (the row's, or one of the choices when it names none).
        padding: multiple to which the framework pads the tables.

    Raises:
        Refused: a width is missing.
    """
    layers, hidden, heads, seq_len = (
        _needed(model, name) for name in ("layers", "hidden", "heads", "seq_len")
    )
    gated = True if model.gated_mlp is None and model.moe is not None else bool(model.gated_mlp)
    result: dict[str, Any] = {
        "name": model.name or "model",
        "layers": layers,
        "hidden": hidden,
        "heads": heads,
        "vocab": vocab,
        "pad_vocab_to": padding,
        "seq_len": seq_len,
        "gated_mlp": gated,
        "mtp_layers": model.mtp_layers or 0,
        "tied_embeddings": (not gated) if model.tied_embeddings is None else model.tied_embeddings,
    }
    if model.ffn_hidden is not None:
        result["ffn_hidden"] = model.ffn_hidden
    elif model.moe is None:
        raise missing("model.ffn_hidden")
    result |= _attention(model)
    if model.moe is not None:
        result["moe"] = _experts(model.moe, layers, model.ffn_hidden)
    return result | _details(model, result, architectures)


def _needed(model: RowModel, name: str) -> int:
    value = getattr(model, name)
    if value is None:
        raise missing(f"model.{name}")
    return int(value)


def _attention(model: RowModel) -> dict[str, Any]:
    if model.mla is not None:
        return {"mla": {key: value for key, value in model.mla.items() if value}}
    if model.has("mla"):
        raise missing("model.mla")
    result: dict[str, Any] = {"kv_heads": model.kv_heads or model.heads}
    if model.head_dim is not None:
        result["head_dim"] = model.head_dim
    return result


def _experts(moe: RowMoe, layers: int, ffn_hidden: int | None) -> dict[str, Any]:
    if moe.experts is None or moe.topk is None:
        raise missing("model.moe.experts and topk")
    # Megatron's default: an expert is as wide as a dense layer (--moe-ffn-hidden-size).
    width = moe.moe_ffn or ffn_hidden
    if width is None:
        raise missing("model.moe.moe_ffn")
    result: dict[str, Any] = {"experts": moe.experts, "topk": moe.topk, "moe_ffn": width}
    result["shared_experts"] = moe.shared_experts or 0
    if moe.shared_ffn_total:
        result["shared_ffn_total"] = moe.shared_ffn_total
    dense = moe.dense_layers
    # Megatron's first_k_dense_replace counts from the front; -1 means that it is not used.
    result["dense_layers"] = min(max(int(dense), 0), layers) if isinstance(dense, int | float) else 0
    return result


def _details(
    model: RowModel, stated: Mapping[str, Any], architectures: Iterable[ModelSpec]
) -> dict[str, Any]:
    twin = next((spec for spec in architectures if _same_widths(spec, stated)), None)
    result = _usual(model, bool(stated["gated_mlp"]))
    if twin is not None:
        result |= {name: getattr(twin, name) for name in _DETAILS}
        if twin.moe is not None:
            result["moe"] = {**stated["moe"], **{name: getattr(twin.moe, name) for name in _MOE_DETAILS}}
    elif model.sliding_window is not None:
        result["sliding_window"] = model.sliding_window
    activation = _activation(model)
    return result if activation is None else result | {"activation": activation}


def _usual(model: RowModel, gated: bool) -> dict[str, Any]:
    """GPT-2 and Llama style decoders, told apart by the gate; squared ReLU is Nemotron 4 (arXiv 2402.16819).

    The decoder that MaxText had of its own in 2023, which only rows under its name have, adds attention and MLP of one norm to
    the stream (DecoderLayer in MaxText/layers/models.py of commit 76bd53b0f, and in MaxText/layers.py of 281e04bf3).
    """
    if not gated and "maxtext" in (model.name or "").lower():
        return {"norm": "rms", "positions": "rope", "biases": "none", "parallel_block": True}
    if gated:
        return {"activation": "silu", "norm": "rms", "positions": "rope", "biases": "none"}
    if _activation(model) == "relu2":
        return {"activation": "relu2", "norm": "layer", "positions": "rope", "biases": "none"}
    biased = model.bias is not False and model.biases is not False
    return {
        "activation": "gelu",
        "norm": "layer",
        "positions": _positions(model.position or "learned"),
        "embedding_norm": model.embedding_norm is True,
        "biases": "all" if biased else "none",
    }


def _positions(text: str) -> str:
    return next((name for name in ("learned", "alibi") if name in text.lower()), "rope")


def _activation(model: RowModel) -> str | None:
    text = (model.activation or model.mlp_activations or "").lower()
    if not text:
        return None
    for word, name in (
        ("squared", "relu2"),
        ("relu", "relu"),
        ("gelu", "gelu"),
        ("silu", "silu"),
        ("swi", "silu"),
    ):
        if word in text:
            return name
    raise lacking("activation", text)


def _same_widths(spec: ModelSpec, stated: Mapping[str, Any]) -> bool:
    """Depth, vocabulary and sequence may differ: published proxies are cut in depth."""
    if (spec.hidden, spec.query_heads, spec.gated_mlp) != (
        stated["hidden"],
        stated["heads"],
        stated["gated_mlp"],
    ):
        return False
    if (spec.moe is None) != ("moe" not in stated) or (spec.mla is None) != ("mla" not in stated):
        return False
    if spec.moe is not None:
        moe = stated["moe"]
        return (spec.moe.experts, spec.moe.topk, spec.moe.moe_ffn) == (
            moe["experts"],
            moe["topk"],
            moe["moe_ffn"],
        )
    key_heads = stated.get("kv_heads", stated["heads"])
    return spec.ffn_hidden == stated.get("ffn_hidden") and (
        spec.mla is not None or spec.key_heads == key_heads
    )
