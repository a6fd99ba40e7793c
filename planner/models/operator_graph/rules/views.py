"""The same elements in another shape or order: linear, and free of computation."""

from __future__ import annotations

from itertools import pairwise

from planner.models.operator_graph.rules.call import AxisRule, Call, Rule, UnknownCallError, own_dims
from planner.models.operator_graph.types import Dims

_PARTIAL = (frozenset({0}),)


def regroup(
    before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[Dims, Dims, dict[str, int], frozenset[str]]:
    """Axes that both shapes of the same elements, in the same order, are made of.

    A boundary between dimensions of either shape cuts the run of elements at a stride. Between two strides of which one
    divides the other lies an axis; where none divides, the two shapes share no axis and their own stay whole.

    Returns:
        Dims of both shapes, lengths of the axes, axes that stay whole.
    """
    strides = sorted({*_strides(before), *_strides(after)})
    names = {stride: f"d{place}" for place, stride in enumerate(reversed(strides[:-1]))}
    common = set(_strides(before)) & set(_strides(after))
    lengths: dict[str, int] = {}
    whole: set[str] = set()
    dims: tuple[list[tuple[str, ...]], list[tuple[str, ...]]] = ([], [])
    broken = _broken(strides, sorted(common))
    for side, shape in enumerate((before, after)):
        for (major, minor), size in zip(pairwise(_strides(shape)), shape, strict=True):
            inside = [stride for stride in reversed(strides) if minor <= stride < major]
            if any(low <= minor < high for low, high in broken):
                name = f"{'from' if side == 0 else 'to'}{len(dims[side])}"
                lengths[name] = size
                whole.add(name)
                inside_names: tuple[str, ...] = (name,) if size > 1 else ()
            else:
                inside_names = tuple(names[stride] for stride in inside)
                for stride, above in zip(inside, (major, *inside), strict=False):
                    lengths[names[stride]] = above // stride
            dims[side].append(inside_names)
    return tuple(dims[0]), tuple(dims[1]), lengths, frozenset(whole)


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements of the whole and below each dimension, row major: (2, 3, 4) -> 24, 12, 4, 1."""
    found = [1]
    for size in reversed(shape):
        found.append(found[-1] * size)
    return tuple(reversed(found))


def _broken(strides: list[int], common: list[int]) -> list[tuple[int, int]]:
    """Ranges between common boundaries inside which some stride does not divide the next."""
    return [
        (low, high)
        for low, high in pairwise(common)
        if any(b % a for a, b in pairwise(stride for stride in strides if low <= stride <= high))
    ]


def _view(call: Call) -> AxisRule:
    source, result = call.inputs[0], call.outputs[0]
    before, after, lengths, whole = regroup(source.shape, result.shape)
    return AxisRule("view", (before,), (after,), whole, partial=_PARTIAL, lengths=lengths)


def _permute(call: Call) -> AxisRule:
    dims = own_dims(call.inputs[0])
    rank = len(dims)
    if call.target == "aten.permute":
        order = [index % rank for index in call.integers(1, "dims") or ()]
    elif call.target == "aten.transpose":
        order = list(range(rank))
        first, second = call.integer(1, "dim0") % rank, call.integer(2, "dim1") % rank
        order[first], order[second] = order[second], order[first]
    elif call.target in ("aten.t", "aten.numpy_T"):
        order = list(reversed(range(rank)))
    else:  # mT, adjoint: the last two
        order = [*range(rank - 2), rank - 1, rank - 2]
    return AxisRule("view", (dims,), (tuple(dims[index] for index in order),), partial=_PARTIAL)


def _expand(call: Call) -> AxisRule:
    """Repeats dimensions of length one: those axes are in the result only."""
    source, result = call.inputs[0], call.outputs[0]
    dims = own_dims(result)
    offset = len(result.shape) - len(source.shape)
    inner = tuple(dims[offset + index] if size > 1 else () for index, size in enumerate(source.shape))
    return AxisRule("view", (inner,), (dims,), partial=_PARTIAL)


def _repeat(call: Call) -> AxisRule:
    """Copies of the whole one after another: the copy is the major axis of a dimension, so only whole ones split."""
    source, result = call.inputs[0], call.outputs[0]
    offset = len(result.shape) - len(source.shape)
    dims = own_dims(source)
    lengths: dict[str, int] = {}
    made = []
    for index, (size, length) in enumerate(zip(result.shape, (1,) * offset + source.shape, strict=True)):
        inner = dims[index - offset] if index >= offset else ()
        if size > length:
            lengths[f"copy{index}"] = size // length
            inner = (f"copy{index}", *inner)
        made.append(inner)
    return AxisRule("view", (dims,), (tuple(made),), frozenset(lengths), _PARTIAL, lengths=lengths)


def _repeat_interleave(call: Call) -> AxisRule:
    """Copies of each element side by side (keys shared by query heads): the element's axis leads."""
    source, times = call.inputs[0], call.integer(1, "repeats")
    if call.argument(2, "dim") is None:
        raise UnknownCallError("repeat_interleave of a flattened tensor")
    dims = list(own_dims(source))
    place = call.integer(2, "dim") % len(dims)
    made = list(dims)
    made[place] = (*dims[place], *(("copy",) if times > 1 else ()))
    return AxisRule(
        "view", (tuple(dims),), (tuple(made),), partial=_PARTIAL, lengths={"copy": times} if times > 1 else {}
    )


RULES: dict[str, Rule] = {
    **{f"aten.{name}": _view for name in ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze")},
    **{f"aten.{name}": _permute for name in ("permute", "transpose", "t", "numpy_T", "mT", "adjoint")},
    **{f"aten.{name}": _expand for name in ("expand", "expand_as", "broadcast_to")},
    "aten.repeat": _repeat,
    "aten.repeat_interleave": _repeat_interleave,
}  # fmt: skip
"""Rules by ATen name."""
