"""A model graph as operators over named axes: what each dimension of each tensor is made of.

Splitting an axis of an operator over a mesh dimension splits every tensor dimension that the axis leads. An axis that is
read but not written is summed over, so splitting it leaves a *partial* result (shares that add up to the value); an axis
that some input lacks means that this input is read whole while its gradient is partial. This is the split / broadcast /
partial algebra of OneFlow (arXiv 2110.15032, section 3.1), derived instead of listed per operator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

ValueKind = Literal["input", "parameter", "constant", "activation"]

OperatorKind = Literal[
    "matmul",  # products summed over axes: linear, mm, bmm, einsum
    "attention",  # scaled dot product attention as one operator
    "convolution",
    "elementwise",  # same value by value, with broadcasting
    "norm",
    "softmax",
    "reduce",  # sum, mean
    "embedding",  # rows of a table
    "loss",  # softmax cross entropy
    "view",  # another shape or order of the same values
    "select",  # parts of a tensor, or several joined: slice, split, cat, top-k, gather
    "opaque",  # no rule is known: every tensor is whole on every rank
]

Dims = tuple[tuple[str, ...], ...]
"""Per dimension of one tensor, the operator's axes that make it up, major first; () for a dimension of length one."""

DTYPE_BYTES: Mapping[str, int] = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1, "complex64": 8,
}  # fmt: skip
"""Bytes of one element, by PyTorch's names."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph.

    Args:
        name: unique in the graph; parameters bear their name in the model (``layers.0.mlp.up.weight``).
        shape: global lengths.
        dtype: PyTorch's name, a key of ``DTYPE_BYTES``.
        kind: ``input`` of the model, trained ``parameter``, ``constant`` (buffer, or made of constants) or ``activation``.
        gradient: backward computes a gradient for it.
        part_of: name of the parameter that stores it, when this is a slice of a fused one; else None.
        part: dimension, start and end of that slice.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: ValueKind = "activation"
    gradient: bool = True
    part_of: str | None = None
    part: tuple[int, int, int] | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True)
class Operand:
    """Stands in an operator's arguments for its input at ``position``."""

    position: int


@dataclass(frozen=True)
class ElementType:
    """Stands in an operator's arguments for an element type, by PyTorch's name."""

    name: str


@dataclass(frozen=True)
class InnerSum:
    """An all-reduce that an operator does inside when one of its axes is split (the sums of a split softmax).

    Args:
        axes: of the buffer, over which it is itself split like any tensor.
        dtype: of the buffer.
        backward: it belongs to the backward pass.
        what: a word for tables, for example ``maximum of the logits``.
    """

    axes: tuple[str, ...]
    dtype: str
    backward: bool
    what: str


@dataclass(frozen=True)
class GraphOperator:
    """One operator: what it reads and writes, by named axes of its own.

    An axis can be split over a mesh dimension where it is not ``whole``, leads the dimension of every tensor that has it
    (axes before it there have nothing left to split), and its length divides. Splitting gives, per tensor: with the axis, a
    split of that dimension (its gradient alike); an input without it, a whole tensor with a partial gradient; an output
    without it, a partial tensor (with whole gradient), or, for an axis with ``inner_sums``, a whole one.

    Args:
        name: unique in the graph.
        kind: family, for pricing and tables.
        target: function by its ATen name without overload (``aten.linear``), also for operators of ONNX files.
        inputs, outputs: names of values.
        axes: length of each axis.
        input_dims, output_dims: ``Dims`` of each tensor, in the order of inputs and outputs.
        whole: axes that must not be split.
        partial: alternatives, each a set of input positions that may be partial together, leaving all outputs partial;
            inputs outside of the set are read whole, with partial gradients.
        inner_sums: axis -> all-reduces inside of the operator when that axis is split.
        flops: of the forward pass, all ranks together (2 per multiply-add), 0 for memory-bound operators.
        saves: values kept for the backward pass.
        causal: of attention: a query sees no later key.
        arguments, keywords: of the call; tensors stand as ``Operand``.
        module: path of the module that it belongs to, "" if unknown.
    """

    name: str
    kind: OperatorKind
    target: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, int]
    input_dims: tuple[Dims, ...]
    output_dims: tuple[Dims, ...]
    whole: frozenset[str] = frozenset()
    partial: tuple[frozenset[int], ...] = ()
    inner_sums: Mapping[str, tuple[InnerSum, ...]] = field(default_factory=dict)
    flops: int = 0
    saves: tuple[str, ...] = ()
    causal: bool = False
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict)
    module: str = ""

    @cached_property
    def splittable(self) -> tuple[str, ...]:
        """Axes that may be split first: not whole, leading the dimension wherever they occur."""
        behind = {axis for dims in (*self.input_dims, *self.output_dims) for dim in dims for axis in dim[1:]}
        return tuple(axis for axis in self.axes if axis not in self.whole and axis not in behind)


@dataclass(frozen=True)
class OperatorGraph:
    """A whole graph.

    Args:
        name: of the model.
        values: every tensor by name.
        operators: in an order in which they can run.
        inputs, outputs: names of values that enter and leave (the loss comes first in outputs of a training graph).
        representatives: operator -> the first operator of the repeated block that it copies, for all copies. They may
            (need not) share one choice: their axes, dims and shapes are the same.
        notes: what the reader of the file should know: operators without a rule, fused weights that were cut, ...
    """

    name: str
    values: Mapping[str, Value]
    operators: tuple[GraphOperator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    representatives: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def producers(self) -> Mapping[str, GraphOperator]:
        """Value -> operator that writes it."""
        return {name: operator for operator in self.operators for name in operator.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[tuple[GraphOperator, int], ...]]:
        """Value -> operators that read it, with the position among their inputs."""
        found: dict[str, list[tuple[GraphOperator, int]]] = {name: [] for name in self.values}
        for operator in self.operators:
            for position, name in enumerate(operator.inputs):
                found[name].append((operator, position))
        return {name: tuple(readers) for name, readers in found.items()}

    def representative(self, operator: str) -> str:
        """The operator whose choice stands for this one's: itself unless it is in a later copy of a block."""
        return self.representatives.get(operator, operator)
