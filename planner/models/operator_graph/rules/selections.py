"""Parts of a tensor and tensors joined: the dimension that is cut or joined stays whole, the others are free."""

from __future__ import annotations

from planner.models.operator_graph.rules.call import FLOATS, AxisRule, Call, Rule, UnknownCallError, own_dims
from planner.models.operator_graph.types import Dims


def _linear(call: Call, count: int = 1) -> tuple[frozenset[int], ...]:
    floats = all(value.dtype in FLOATS for value in call.inputs[:count])
    return (frozenset(range(count)),) if floats else ()


def _cut(call: Call) -> AxisRule:
    """Slices, parts of equal or given lengths: other lengths along one dimension."""
    source = call.inputs[0]
    rank = len(source.shape)
    place = (
        _place(
            call,
            2
            if call.target in ("aten.split", "aten.split_with_sizes", "aten.chunk", "aten.tensor_split")
            else 1,
        )
        % rank
    )
    dims = own_dims(source)
    if all(value.shape == source.shape for value in call.outputs):
        return AxisRule("select", (dims,), (dims,) * len(call.outputs), partial=_linear(call))
    outputs = tuple(
        tuple(
            (f"part{index}",) if at == place and value.shape[at] > 1 else () if at == place else dim
            for at, dim in enumerate(dims)
        )
        for index, value in enumerate(call.outputs)
    )
    whole = {*dims[place], *(axis for output in outputs for axis in output[place])}
    return AxisRule("select", (dims,), outputs, frozenset(whole), partial=_linear(call))  # fmt: skip


def _place(call: Call, position: int) -> int:
    return call.integer(position, "dim", 0)


def _take(call: Call) -> AxisRule:
    """One place of a dimension (``select``), or each of them (``unbind``): the dimension goes."""
    dims = own_dims(call.inputs[0])
    place = _place(call, 1) % len(dims)
    kept = tuple(dim for index, dim in enumerate(dims) if index != place)
    return AxisRule(
        "select", (dims,), (kept,) * len(call.outputs), frozenset(dims[place]), partial=_linear(call)
    )


def _join(call: Call) -> AxisRule:
    """``cat`` and ``stack``."""
    result = call.outputs[0]
    place = _place(call, 1) % len(result.shape)
    made = own_dims(result)
    inputs: list[Dims] = []
    whole = set(made[place])
    for index, value in enumerate(call.inputs):
        if call.target == "aten.stack":
            inputs.append(tuple(dim for at, dim in enumerate(made) if at != place))
            continue
        if len(value.shape) != len(result.shape):
            raise UnknownCallError("cat of an empty tensor")
        own = (f"part{index}",) if value.shape[place] > 1 else ()
        whole.update(own)
        inputs.append(tuple(own if at == place else dim for at, dim in enumerate(made)))
    return AxisRule(
        "select", tuple(inputs), (made,), frozenset(whole), partial=_linear(call, len(call.inputs))
    )


def _top(call: Call) -> AxisRule:
    """The k largest along a dimension, and their places."""
    position = 2 if call.target == "aten.topk" else 1
    dims = own_dims(call.inputs[0])
    place = call.integer(position, "dim", -1) % len(dims)
    own = ("chosen",) if call.outputs[0].shape[place] > 1 else ()
    made = tuple(own if index == place else dim for index, dim in enumerate(dims))
    return AxisRule(
        "select",
        (dims,),
        (made,) * len(call.outputs),
        frozenset((*dims[place], *own)),
        saves=call.outputs[1:],
    )


def _gather(call: Call) -> AxisRule:
    """Values at places along one dimension; the places' other dimensions are the values' where as long."""
    source, places = call.inputs[:2]
    at = _place(call, 1) % len(source.shape)
    dims, made = own_dims(source), own_dims(places, "place")
    free = [
        index != at and a == b for index, (a, b) in enumerate(zip(source.shape, places.shape, strict=True))
    ]
    chosen = tuple(dims[index] if free[index] else made[index] for index in range(len(dims)))
    whole = {axis for index in range(len(dims)) if not free[index] for axis in (*dims[index], *chosen[index])}
    return AxisRule(
        "select", (dims, chosen), (chosen,), frozenset(whole), partial=_linear(call), saves=(places,)
    )


def _scatter(call: Call) -> AxisRule:
    """Values written to places along one dimension of a tensor."""
    base, places, *values = call.inputs
    at = _place(call, 1) % len(base.shape)
    dims, made = own_dims(base), own_dims(places, "place")
    free = [index != at and a == b for index, (a, b) in enumerate(zip(base.shape, places.shape, strict=True))]
    chosen = tuple(dims[index] if free[index] else made[index] for index in range(len(dims)))
    if any(value.shape != places.shape for value in values):
        raise UnknownCallError("scatter of values of another shape than their places")
    whole = {axis for index in range(len(dims)) if not free[index] for axis in (*dims[index], *chosen[index])}
    inputs = (dims, chosen, *((chosen,) * len(values)))
    return AxisRule("select", inputs, (dims,), frozenset(whole), saves=(places,))


def _index_select(call: Call) -> AxisRule:
    source, places = call.inputs
    at = _place(call, 1) % len(source.shape)
    dims = own_dims(source)
    chosen = own_dims(places, "place")[0]
    made = tuple(chosen if index == at else dim for index, dim in enumerate(dims))
    return AxisRule(
        "select", (dims, (chosen,)), (made,), frozenset(dims[at]), partial=_linear(call), saves=(places,)
    )


def _one_hot(call: Call) -> AxisRule:
    dims = own_dims(call.inputs[0])
    own = ("class",) if call.outputs[0].shape[-1] > 1 else ()
    return AxisRule("select", (dims,), ((*dims, own),), frozenset(own))


def _pad(call: Call) -> AxisRule:
    """Zeros (or another constant) around: padded dimensions stay whole."""
    source, result = call.inputs[0], call.outputs[0]
    dims, padded = own_dims(source), own_dims(result, "padded")
    same = [a == b for a, b in zip(source.shape, result.shape, strict=True)]
    made = tuple(dim if alike else other for dim, other, alike in zip(dims, padded, same, strict=True))
    whole = {
        axis
        for dim, other, alike in zip(dims, padded, same, strict=True)
        if not alike
        for axis in (*dim, *other)
    }
    zero = call.argument(2, "value", 0) in (0, None)
    return AxisRule("select", (dims,), (made,), frozenset(whole), partial=_linear(call) if zero else ())


RULES: dict[str, Rule] = {
    **{f"aten.{name}": _cut for name in ("slice", "narrow", "split", "split_with_sizes", "chunk")},
    **{f"aten.{name}": _take for name in ("select", "unbind")},
    **{f"aten.{name}": _join for name in ("cat", "stack", "concat")},
    **{f"aten.{name}": _top for name in ("topk", "sort")},
    **{f"aten.{name}": _scatter for name in ("scatter", "scatter_add")},
    "aten.gather": _gather,
    "aten.index_select": _index_select,
    "aten.one_hot": _one_hot,
    "aten.constant_pad_nd": _pad,
    "aten.pad": _pad,
}
"""Rules by ATen name."""
