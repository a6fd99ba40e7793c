"""Products summed over axes: linear layers, matrix products, einsum, convolutions."""

from __future__ import annotations

import math

from planner.models.operator_graph.rules.call import AxisRule, Call, Rule, UnknownCallError, axis_lengths
from planner.models.operator_graph.rules.elementwise import broadcast_dims
from planner.models.operator_graph.types import Dims, OperatorKind


def product(
    call: Call,
    input_dims: tuple[Dims, ...],
    output_dims: Dims,
    *,
    kind: OperatorKind = "matmul",
    whole: frozenset[str] = frozenset(),
) -> AxisRule:
    """A sum of products: linear in each factor, two operations per combination of all axes.

    Backward needs every factor for the gradients of the others.
    """
    bare = AxisRule(kind, input_dims, (output_dims,), whole)
    factors = range(len(call.inputs))
    saves = tuple(
        value
        for index, value in enumerate(call.inputs)
        if any(call.inputs[other].gradient for other in factors if other != index)
    )
    return AxisRule(
        kind,
        input_dims,
        (output_dims,),
        whole,
        partial=tuple(frozenset({index}) for index in factors),
        flops=2 * math.prod(axis_lengths(call, bare).values()),
        saves=saves,
    )


def _axis(size: int, name: str) -> tuple[str, ...]:
    return (name,) if size > 1 else ()


def _linear(call: Call) -> AxisRule:
    """``aten.linear(x, weight)``; the bias has been made an addition of its own."""
    x, weight = call.inputs
    rows = broadcast_dims(x, len(x.shape))[:-1]
    out, into = (_axis(size, name) for size, name in zip(weight.shape, ("out", "in"), strict=True))
    return product(call, ((*rows, into), (out, into)), (*rows, out))


def _matmul(call: Call) -> AxisRule:
    """``aten.matmul`` and its kin: batch dimensions broadcast."""
    left, right = call.inputs
    if min(len(left.shape), len(right.shape)) < 2:
        raise UnknownCallError("a product with a vector")
    rank = len(call.outputs[0].shape)
    row, inner, column = (
        _axis(left.shape[-2], "row"),
        _axis(left.shape[-1], "inner"),
        _axis(right.shape[-1], "column"),
    )
    batches = [broadcast_dims(value, rank)[:-2] for value in (left, right, call.outputs[0])]
    return product(
        call, ((*batches[0], row, inner), (*batches[1], inner, column)), (*batches[2], row, column)
    )


def _einsum(call: Call) -> AxisRule:
    equation = str(call.argument(0, "equation")).replace(" ", "")
    terms, _, result = equation.partition("->")
    factors = terms.split(",")
    letters = [*factors, result]
    if "..." in equation or "->" not in equation or any(len(set(term)) != len(term) for term in letters):
        raise UnknownCallError(f"einsum {equation!r}: only distinct letters and an explicit result are known")
    lengths = {
        letter: size
        for term, value in zip(factors, call.inputs, strict=True)
        for letter, size in zip(term, value.shape, strict=True)
    }
    dims = [tuple(_axis(lengths[letter], letter) for letter in term) for term in letters]
    return product(call, tuple(dims[:-1]), dims[-1])


def _convolution(call: Call) -> AxisRule:
    """Split by samples, by output channels, and (without a bias) by input channels; the picture stays whole."""
    x, weight, *bias = call.inputs
    if call.target.endswith("convolution"):
        groups, transposed = call.integer(8, "groups", 1), bool(call.argument(6, "transposed", False))
    else:
        groups, transposed = call.integer(6, "groups", 1), False
    if groups != 1 or transposed:
        raise UnknownCallError("a convolution in groups or a transposed one")
    sample, channel, out = _axis(x.shape[0], "sample"), _axis(x.shape[1], "in"), _axis(weight.shape[0], "out")
    picture = tuple(_axis(size, f"picture{index}") for index, size in enumerate(x.shape[2:]))
    window = tuple(_axis(size, f"window{index}") for index, size in enumerate(weight.shape[2:]))
    result = call.outputs[0].shape[2:]
    made = tuple(_axis(size, f"result{index}") for index, size in enumerate(result))
    whole = frozenset(axis for dim in (*picture, *window, *made, channel if bias else ()) for axis in dim)
    biases: tuple[Dims, ...] = ((out,),) if bias else ()
    return AxisRule(
        "convolution",
        ((sample, channel, *picture), (out, channel, *window), *biases),
        ((sample, out, *made),),
        whole,
        partial=() if bias else (frozenset({0}), frozenset({1})),
        flops=2 * x.shape[0] * weight.elements * math.prod(result),
        saves=(x, weight),
    )


RULES: dict[str, Rule] = {
    "aten.linear": _linear,
    "aten.einsum": _einsum,
    **{f"aten.{name}": _matmul for name in ("matmul", "mm", "bmm")},
    **{f"aten.{name}": _convolution for name in ("conv1d", "conv2d", "conv3d", "convolution")},
}
"""Rules by ATen name."""
