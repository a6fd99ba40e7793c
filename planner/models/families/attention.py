"""Softmax attention with any number of key/value heads: projections, position encoding, core, output projection."""

from __future__ import annotations

from planner.models.builder import Attribute, BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.norms import norm
from planner.models.graph import Axis
from planner.models.spec import ModelSpec


def self_attention(
    block: BlockBuilder,
    spec: ModelSpec,
    source: str,
    *,
    window: int | None,
    causal: bool,
    relative_table: bool = False,
) -> str:
    """Attention of a stream to itself; the output of its projection.

    Args:
        source: normalised stream, (batch, sequence, hidden).
        window: tokens that a query sees, None for all.
        causal: later tokens are masked.
        relative_table: this layer owns the table of relative position biases (T5's first layer).
    """
    axes = ModelAxes(spec)
    bias = spec.biases in ("qkv", "attention", "all")
    query = _project(block, "q", source, (axes.hidden, axes.heads, axes.head_dim), bias)
    key = _project(block, "k", source, (axes.hidden, axes.kv_heads, axes.head_dim), bias)
    value = _project(block, "v", source, (axes.hidden, axes.kv_heads, axes.head_dim), bias)
    if spec.qk_norm != "none":
        query = norm(block, spec, "q_norm", query, _norm_axes(spec, axes.heads, axes.head_dim))
        key = norm(block, spec, "k_norm", key, _norm_axes(spec, axes.kv_heads, axes.head_dim))
    if spec.positions == "rope":
        query = block.pointwise("q_rope", "rope", query, module="attention")
        key = block.pointwise("k_rope", "rope", key, module="attention")
    attributes: dict[str, Attribute] = {
        "causal": causal,
        "window": window,
        "soft_cap": spec.attention_soft_cap,
        "biased": spec.positions in ("alibi", "relative"),
    }
    extra = _core_parameters(block, spec, relative_table)
    context = core(block, "attention", query, key, value, attributes, extra)
    return output_projection(block, spec, "attention_output", context)


def cross_attention(block: BlockBuilder, spec: ModelSpec, source: str, memory: str) -> str:
    """Attention of a decoder stream to the encoder's output, which has its own sequence axis."""
    axes = ModelAxes(spec)
    bias = spec.biases in ("qkv", "attention", "all")
    query = block.einsum(
        "cross_q", source, (axes.hidden, axes.heads, axes.head_dim), module="attention", bias=bias
    )
    key, value = (
        block.einsum(
            name,
            memory,
            (axes.hidden, axes.kv_heads, axes.head_dim),
            module="attention",
            bias=bias,
            fused_group="cross_kv",
        )
        for name in ("cross_k", "cross_v")
    )
    attributes: dict[str, Attribute] = {"causal": False, "window": None, "soft_cap": False}
    context = core(block, "cross_attention", query, key, value, attributes)
    return output_projection(block, spec, "cross_attention_output", context)


def core(
    block: BlockBuilder,
    name: str,
    query: str,
    key: str,
    value: str,
    attributes: dict[str, Attribute],
    parameters: tuple[str, ...] = (),
) -> str:
    """softmax(q k^T) v: axes of the query with the width of the value; saves q, k, v and its output."""
    width = block.tensors[value].axes[-1]
    output = f"{name}_out"
    return block.operator(
        name,
        "attention",
        (query, key, value),
        (*block.tensors[query].axes[:-1], width),
        module="core_attention",
        parameters=parameters,
        saves=(query, key, value, output),
        attributes=attributes,
        output=output,
    )


def output_projection(block: BlockBuilder, spec: ModelSpec, name: str, context: str) -> str:
    """Heads back to the residual width."""
    axes = ModelAxes(spec)
    heads, width = block.tensors[context].axes[-2:]
    return block.einsum(
        name,
        context,
        (heads, width, axes.hidden),
        module="attention",
        bias=spec.biases in ("attention", "all"),
    )


def _project(block: BlockBuilder, name: str, source: str, weight: tuple[Axis, ...], bias: bool) -> str:
    return block.einsum(name, source, weight, module="attention", bias=bias, fused_group="qkv")


def _core_parameters(block: BlockBuilder, spec: ModelSpec, relative_table: bool) -> tuple[str, ...]:
    """Trained arrays that the softmax reads: one sink per head, the table of relative position biases."""
    heads = ModelAxes(spec).heads
    parameters = []
    if spec.attention_sinks:
        parameters.append(block.parameter("attention_sinks", (heads,)))
    if relative_table:
        parameters.append(block.parameter("relative_bias", (Axis("positions", spec.relative_buckets), heads)))
    return tuple(parameters)


def _norm_axes(spec: ModelSpec, heads: Axis, head_dim: Axis) -> tuple[Axis, ...]:
    return (heads, head_dim) if spec.qk_norm == "heads" else (head_dim,)
