"""Scaled dot product attention as one operator."""

from __future__ import annotations

from planner.models.operator_graph.rules.call import AxisRule, Call, Rule, UnknownCallError
from planner.models.operator_graph.types import Dims, Value


def _attention(call: Call) -> AxisRule:
    """Split by samples, by heads (of keys, where queries share them), and by queries unless a query's place decides.

    q [..., heads, queries, width], k and v [..., kv_heads, keys, width]; FLOPs are those of the full square.
    """
    query, key, value = call.inputs[:3]
    if len(query.shape) != 4:
        raise UnknownCallError("attention over other than four dimensions")
    causal = bool(call.argument(5, "is_causal", False))
    batch, heads, queries, width = query.shape
    kv_heads, keys, value_width = key.shape[1], key.shape[2], value.shape[3]
    if heads % kv_heads or key.shape[0] != batch:
        raise UnknownCallError("attention whose keys broadcast over samples or divide no heads")
    sample, kv, shared = (
        _named(batch, "sample"),
        _named(kv_heads, "head"),
        _named(heads // kv_heads, "query_group"),
    )
    head: tuple[str, ...] = (*kv, *shared)
    row, column = _named(queries, "query"), _named(keys, "key")
    inner, outer = _named(width, "width"), _named(value_width, "value_width")
    mask = call.tensor(3, "attn_mask")
    masks = () if mask is None else (_mask(call.inputs[mask], (sample, head, row, column)),)
    whole = {*column, *inner, *outer, *(row if causal else ())}
    return AxisRule(
        "attention",
        ((sample, head, row, inner), (sample, kv, column, inner), (sample, kv, column, outer), *masks),
        ((sample, head, row, outer),),
        frozenset(whole),
        flops=2 * batch * heads * queries * keys * (width + value_width),
        saves=(*call.inputs, *call.outputs),
        causal=causal,
    )


def _named(size: int, name: str) -> tuple[str, ...]:
    return (name,) if size > 1 else ()


def _mask(mask: Value, scores: Dims) -> Dims:
    """A mask broadcasts to [samples, heads, queries, keys]."""
    offset = 4 - len(mask.shape)
    return tuple(scores[offset + index] if size > 1 else () for index, size in enumerate(mask.shape))


RULES: dict[str, Rule] = {"aten.scaled_dot_product_attention": _attention}
"""Rules by ATen name."""
