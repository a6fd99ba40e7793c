"""What a rule is given and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from planner.models.operator_graph.types import Dims, InnerSum, Operand, OperatorKind, Value

FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Call:
    """A call of an ATen function with its tensors.

    Args:
        target: without overload, ``aten.linear``.
        inputs, outputs: the tensors.
        arguments, keywords: of the call, an ``Operand`` for each input.
    """

    target: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict)

    def argument(self, position: int, name: str, default: object = None) -> object:
        """A plain argument by position or keyword."""
        if position < len(self.arguments):
            return self.arguments[position]
        return self.keywords.get(name, default)

    def integer(self, position: int, name: str, default: int = 0) -> int:
        """An integer argument."""
        value = self.argument(position, name, default)
        if not isinstance(value, int):
            raise UnknownCallError(f"{name} of {self.target} is {value!r}")
        return value

    def integers(self, position: int, name: str) -> tuple[int, ...] | None:
        """A list of integers (or one), None if absent."""
        value = self.argument(position, name)
        if isinstance(value, int):
            return (value,)
        return tuple(int(part) for part in value) if isinstance(value, tuple) else None

    def tensor(self, position: int, name: str) -> int | None:
        """The input that stands at an argument, None if there is none."""
        value = self.argument(position, name)
        return value.position if isinstance(value, Operand) else None


@dataclass(frozen=True)
class AxisRule:
    """Axes of one call; fields as in ``GraphOperator``.

    ``saves``: tensors of the call kept for backward. ``lengths``: of axes that are alone in no dimension.
    """

    kind: OperatorKind
    input_dims: tuple[Dims, ...]
    output_dims: tuple[Dims, ...]
    whole: frozenset[str] = frozenset()
    partial: tuple[frozenset[int], ...] = ()
    inner_sums: Mapping[str, tuple[InnerSum, ...]] = field(default_factory=dict)
    flops: int = 0
    saves: tuple[Value, ...] = ()
    causal: bool = False
    lengths: Mapping[str, int] = field(default_factory=dict)


Rule = Callable[[Call], AxisRule]


class UnknownCallError(Exception):
    """A function is known but not this way of calling it: its tensors stay whole."""


def own_dims(value: Value, prefix: str = "d") -> Dims:
    """One axis per dimension longer than one: d0, d1, ..."""
    return tuple((f"{prefix}{index}",) if size > 1 else () for index, size in enumerate(value.shape))


def axis_lengths(call: Call, rule: AxisRule) -> dict[str, int]:
    """Length of each axis that is alone in some dimension; of the others what the dimension leaves.

    Raises:
        UnknownCallError: dimensions and lengths contradict each other.
    """
    tensors = [
        *zip(call.inputs, rule.input_dims, strict=True),
        *zip(call.outputs, rule.output_dims, strict=True),
    ]
    pairs = [pair for value, dims in tensors for pair in zip(dims, value.shape, strict=True)]
    lengths: dict[str, int] = dict(rule.lengths)
    for dim, size in sorted(pairs, key=lambda pair: len(pair[0])):
        left = size
        unknown = [axis for axis in dim if axis not in lengths]
        for axis in dim:
            left //= lengths.get(axis, 1)
        if len(unknown) > 1 or (not unknown and left != 1) or left < 1:
            raise UnknownCallError(f"axes {dim} of {call.target} do not make up {size}")
        for axis in unknown:
            lengths[axis] = left
    return lengths


def opaque(call: Call) -> AxisRule:
    """Every tensor whole on every rank, kept for backward as it is."""
    inputs = tuple(own_dims(value, f"in{index}.") for index, value in enumerate(call.inputs))
    outputs = tuple(own_dims(value, f"out{index}.") for index, value in enumerate(call.outputs))
    axes = frozenset(axis for dims in (*inputs, *outputs) for dim in dims for axis in dim)
    return AxisRule("opaque", inputs, outputs, whole=axes, saves=(*call.inputs, *call.outputs))
