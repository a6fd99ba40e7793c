"""Functions of one element each, with broadcasting: they follow whatever split their inputs have."""

from __future__ import annotations

from planner.models.operator_graph.rules.call import FLOATS, AxisRule, Call, Rule
from planner.models.operator_graph.types import Dims, Operand, Value

_FREE = (
    "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "bitwise_and", "bitwise_or",
    "bitwise_not", "sign", "floor", "ceil", "round", "isnan", "isinf",
)  # fmt: skip
"""Nothing is kept for backward, and nothing partial may enter."""

_LINEAR = ("clone", "contiguous", "_to_copy", "to", "detach", "alias", "neg", "positive", "lift_fresh_copy")
"""Linear in their only tensor."""

_KEEPS_INPUTS = (
    "gelu", "silu", "mish", "hardswish", "softplus", "elu", "celu", "selu", "leaky_relu", "erf", "cos", "sin", "log",
    "log1p", "log2", "square", "pow", "abs", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "hardtanh",
    "hardsigmoid", "relu6", "xlogy", "atan2", "fmod", "remainder", "nan_to_num", "threshold", "log_sigmoid", "addcmul",
    "addcdiv", "lerp",
)  # fmt: skip

_KEEPS_OUTPUT = ("relu", "tanh", "sigmoid", "exp", "expm1", "sqrt", "rsqrt", "reciprocal")


def broadcast_dims(value: Value, rank: int) -> Dims:
    """Axes of a tensor whose last dimension lines up with the last of a result of that many dimensions."""
    offset = rank - len(value.shape)
    return tuple((f"d{offset + index}",) if size > 1 else () for index, size in enumerate(value.shape))


def _follow(call: Call, partial: tuple[frozenset[int], ...] = (), saves: tuple[Value, ...] = ()) -> AxisRule:
    rank = len(call.outputs[0].shape)
    floats = call.outputs[0].dtype in FLOATS
    return AxisRule(
        "elementwise",
        tuple(broadcast_dims(value, rank) for value in call.inputs),
        tuple(broadcast_dims(value, rank) for value in call.outputs),
        partial=partial if floats else (),
        saves=saves,
    )


def _free(call: Call) -> AxisRule:
    return _follow(call)


def _linear(call: Call) -> AxisRule:
    return _follow(call, (frozenset({0}),) if call.inputs[0].dtype in FLOATS else ())


def _keeps_inputs(call: Call) -> AxisRule:
    return _follow(call, saves=call.inputs)


def _keeps_output(call: Call) -> AxisRule:
    return _follow(call, saves=call.outputs)


def _tensors(call: Call) -> tuple[int, ...]:
    """Which of the two terms are tensors."""
    return tuple(part.position for part in call.arguments[:2] if isinstance(part, Operand))


def _sum(call: Call) -> AxisRule:
    """All terms partial together; with a plain number as a term nothing may be partial: each rank would add it."""
    both = _tensors(call)
    return _follow(call, (frozenset(both),) if len(both) == 2 else ())


def _product(call: Call) -> AxisRule:
    """Either factor partial; backward needs each factor for the other's gradient."""
    both = _tensors(call)
    saves = tuple(
        call.inputs[1 - index] for index in range(len(both)) if len(both) == 2 and call.inputs[index].gradient
    )
    return _follow(call, tuple(frozenset({position}) for position in both), saves)


def _quotient(call: Call) -> AxisRule:
    both = _tensors(call)
    first = both[:1] if isinstance(call.arguments[0], Operand) else ()
    plain = len(call.arguments) < 3 and "rounding_mode" not in call.keywords
    partial = tuple(frozenset({position}) for position in first) if plain else ()
    return _follow(call, partial, call.inputs[1:] if len(both) == 2 else ())


def _where(call: Call) -> AxisRule:
    """Chooses between two tensors: both partial together."""
    chosen = [part.position for part in call.arguments[1:3] if isinstance(part, Operand)]
    return _follow(call, (frozenset(chosen),) if len(chosen) == 2 else (), call.inputs[:1])


def _masked_fill(call: Call) -> AxisRule:
    """The filled value is whole on each rank; zero alone can be a partial one."""
    zero = call.argument(2, "value") == 0
    return _follow(call, (frozenset({0}),) if zero else (), call.inputs[1:2])


def _dropout(call: Call) -> AxisRule:
    """Each element by itself; backward needs the mask, the second result."""
    return _follow(call, saves=call.outputs[1:])


RULES: dict[str, Rule] = {
    **{f"aten.{name}": _free for name in _FREE},
    **{f"aten.{name}": _linear for name in _LINEAR},
    **{f"aten.{name}": _keeps_inputs for name in _KEEPS_INPUTS},
    **{f"aten.{name}": _keeps_output for name in _KEEPS_OUTPUT},
    "aten.add": _sum,
    "aten.sub": _sum,
    "aten.mul": _product,
    "aten.div": _quotient,
    "aten.where": _where,
    "aten.masked_fill": _masked_fill,
    "aten.dropout": _dropout,
    "aten.native_dropout": _dropout,
}
"""Rules by ATen name."""
