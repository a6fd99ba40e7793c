"""Sums, and functions that need all values along some dimensions: norms, softmax, the largest."""

from __future__ import annotations

from planner.models.operator_graph.rules.call import (
    FLOATS,
    AxisRule,
    Call,
    Rule,
    UnknownCallError,
    own_dims,
)
from planner.models.operator_graph.types import Dims, OperatorKind, Value


def _reduced(call: Call, position: int = 1) -> tuple[Dims, tuple[Dims, ...], frozenset[str]]:
    """Axes of the input, of the outputs without the reduced ones, and the reduced axes."""
    value = call.inputs[0]
    if len(call.inputs) > 1:
        raise UnknownCallError(f"{call.target} of several tensors")
    dims, rank = own_dims(value), len(value.shape)
    given = call.integers(position, "dim")
    reduced = {index % rank for index in given} if given else set(range(rank))
    kept = tuple(dim for index, dim in enumerate(dims) if index not in reduced)
    if len(call.outputs[0].shape) == rank:
        kept = tuple(() if index in reduced else dim for index, dim in enumerate(dims))
    axes = frozenset(axis for index in reduced for axis in dims[index])
    return dims, (kept,) * len(call.outputs), axes


def _sum(call: Call) -> AxisRule:
    """Linear: the sum over a split axis is partial (a mean alike: every share has the same number of elements)."""
    dims, outputs, axes = _reduced(call)
    linear = call.inputs[0].dtype in FLOATS
    whole = frozenset() if linear else axes
    return AxisRule("reduce", (dims,), outputs, whole, partial=(frozenset({0}),) if linear else ())


def _extreme(call: Call) -> AxisRule:
    """The largest, the product, the variance: the reduced axes stay whole."""
    dims, outputs, axes = _reduced(call)
    return AxisRule("reduce", (dims,), outputs, axes, saves=(*call.inputs, *call.outputs))


def _along(kind: OperatorKind, saves_output: bool = True) -> Rule:
    """Same shape out as in, with one dimension whole (argument 1)."""

    def rule(call: Call) -> AxisRule:
        value = call.inputs[0]
        dims = own_dims(value)
        axis = dims[call.integer(1, "dim", -1)] if value.shape else ()
        saves = call.outputs if saves_output else ()
        return AxisRule(kind, (dims,), (dims,) * len(call.outputs), frozenset(axis), saves=saves)

    return rule


def _norm(call: Call) -> AxisRule:
    """Layer and root-mean-square norms: the normalised last dimensions stay whole."""
    value = call.inputs[0]
    dims = own_dims(value)
    count = len(call.integers(1, "normalized_shape") or ())
    inner = dims[len(dims) - count :]
    whole = frozenset(axis for dim in inner for axis in dim)
    parameters = (inner,) * (len(call.inputs) - 1)
    saves: tuple[Value, ...] = call.inputs[:2]
    return AxisRule("norm", (dims, *parameters), (dims,), whole, saves=saves)


def _group_norm(call: Call) -> AxisRule:
    """Over groups of channels: only samples are independent."""
    value = call.inputs[0]
    dims = own_dims(value)
    whole = frozenset(axis for dim in dims[1:] for axis in dim)
    parameters = (dims[1:2],) * (len(call.inputs) - 1)
    return AxisRule("norm", (dims, *parameters), (dims,), whole, saves=call.inputs[:2])


def _triangle(call: Call) -> AxisRule:
    """Upper or lower triangle of the last two dimensions: a place's row and column decide."""
    dims = own_dims(call.inputs[0])
    if len(dims) < 2:
        raise UnknownCallError("a triangle of a vector")
    whole = frozenset((*dims[-1], *dims[-2]))
    return AxisRule("select", (dims,), (dims,), whole, partial=(frozenset({0}),))


_EXTREMES = "amax amin max min argmax argmin prod var std any all logsumexp"

RULES: dict[str, Rule] = {
    **dict.fromkeys(("aten.sum", "aten.mean"), _sum),
    **{f"aten.{name}": _extreme for name in _EXTREMES.split()},
    **{f"aten.{name}": _along("softmax") for name in ("softmax", "log_softmax", "_softmax", "_log_softmax")},
    **{f"aten.{name}": _along("select", saves_output=False) for name in ("cumsum", "flip")},
    **dict.fromkeys(("aten.layer_norm", "aten.rms_norm"), _norm),
    "aten.group_norm": _group_norm,
    **dict.fromkeys(("aten.triu", "aten.tril"), _triangle),
}
"""Rules by ATen name."""
