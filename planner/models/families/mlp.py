"""Dense feed-forward network, plain or gated."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.graph import Axis
from planner.models.spec import ModelSpec

GATED = Axis("gated", 2)


def mlp(block: BlockBuilder, spec: ModelSpec, source: str) -> str:
    """The model's dense MLP on ``source``."""
    return feed_forward(
        block,
        spec,
        "mlp",
        source,
        Axis("ffn", spec.ffn_hidden),
        modules=("mlp", "activation"),
        bias=_bias(spec),
    )


def feed_forward(
    block: BlockBuilder,
    spec: ModelSpec,
    name: str,
    source: str,
    inner: Axis,
    *,
    modules: tuple[str, str],
    bias: bool,
    experts: tuple[Axis, ...] = (),
    limit: float | None = None,
) -> str:
    """Up (with gate), activation, down.

    Args:
        source: (..., hidden).
        inner: axis of the inner width (``ffn``, ``shared_ffn`` or ``expert_ffn``).
        modules: recompute units of the projections and of the activation.
        bias: both projections have one.
        experts: the leading axis of the weights when each expert has its own.
        limit: at which the input of the activation is clamped.
    """
    hidden = block.tensors[source].axes[-1]
    projections, pointwise = modules
    gates = (GATED,) if spec.gated_mlp else ()
    wide = block.einsum(
        f"{name}_up", source, (*experts, hidden, *gates, inner), module=projections, bias=bias
    )
    activated = activation(block, spec, f"{name}_activation", wide, module=pointwise, limit=limit)
    return block.einsum(f"{name}_down", activated, (*experts, inner, hidden), module=projections, bias=bias)


def activation(
    block: BlockBuilder, spec: ModelSpec, name: str, source: str, *, module: str, limit: float | None = None
) -> str:
    """Pointwise nonlinearity; a gated one multiplies the two halves of the ``gated`` axis. Saves its input."""
    axes = tuple(axis for axis in block.tensors[source].axes if axis.name != "gated")
    return block.operator(
        name,
        "activation",
        (source,),
        axes,
        module=module,
        saves=(source,),
        attributes={"function": spec.activation, "gated": spec.gated_mlp, **_limited(limit)},
    )


def _limited(limit: float | None) -> dict[str, float]:
    return {} if limit is None else {"limit": limit}


def _bias(spec: ModelSpec) -> bool:
    return spec.biases in ("mlp", "all")
