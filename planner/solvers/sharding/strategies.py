"""Every legal way to split one operator over a mesh, and the placements that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from planner.models.operator_graph.types import Dims, GraphOperator, OperatorGraph
from planner.solvers.sharding.placement import PARTIAL, REPLICATED, Code, DeviceMesh
from planner.solvers.sharding.plan import Split


@dataclass(frozen=True)
class Strategy:
    """One way to run an operator.

    Args:
        split: per mesh dimension.
        inputs: placements that it reads.
        gradients: placements in which it yields their gradients.
        outputs: placements that it writes; gradients are wanted in their duals.
    """

    split: tuple[Split, ...]
    inputs: tuple[Code, ...]
    gradients: tuple[Code, ...]
    outputs: tuple[Code, ...]


def strategies(operator: GraphOperator, graph: OperatorGraph, mesh: DeviceMesh) -> tuple[Strategy, ...]:
    """All of them, the one that splits nothing first.

    Each mesh dimension splits an axis, passes partial sums, or repeats the work on every rank (arXiv 2110.15032, section
    3.1). Alternatives of partial inputs that no operator could have written are left out: parameters and inputs are never
    stored as partial sums.
    """
    axes = [axis for axis in operator.splittable if operator.axes[axis] > 1]
    made = [
        number
        for number, positions in enumerate(operator.partial)
        if any(graph.values[operator.inputs[place]].kind == "activation" for place in positions)
    ]
    options: list[Split] = [None, *axes, *made]
    chosen = product(options, repeat=len(mesh.shape))
    return tuple(_strategy(operator, split) for split in chosen if _divides(operator, split, mesh))


def local_axes(operator: GraphOperator, split: tuple[Split, ...], mesh: DeviceMesh) -> dict[str, float]:
    """Lengths of the operator's axes on one rank."""
    lengths = {axis: float(length) for axis, length in operator.axes.items()}
    for size, item in zip(mesh.shape, split, strict=True):
        if isinstance(item, str):
            lengths[item] /= size
    return lengths


def sends_gradient(operator: GraphOperator, value: str, graph: OperatorGraph) -> bool:
    """Whether backward of an operator yields a gradient of one of its inputs."""
    return graph.values[value].gradient and any(graph.values[name].gradient for name in operator.outputs)


def _divides(operator: GraphOperator, split: tuple[Split, ...], mesh: DeviceMesh) -> bool:
    parts: dict[str, int] = {}
    for size, item in zip(mesh.shape, split, strict=True):
        if isinstance(item, str):
            parts[item] = parts.get(item, 1) * size
    return all(operator.axes[axis] % count == 0 for axis, count in parts.items())


def _strategy(operator: GraphOperator, split: tuple[Split, ...]) -> Strategy:
    places = range(len(operator.inputs))
    columns = [_on_one_dim(operator, item) for item in split]
    return Strategy(
        split=split,
        inputs=tuple(tuple(column.inputs[place] for column in columns) for place in places),
        gradients=tuple(tuple(column.gradients[place] for column in columns) for place in places),
        outputs=tuple(
            tuple(column.outputs[place] for column in columns) for place in range(len(operator.outputs))
        ),
    )


@dataclass(frozen=True)
class _Column:
    """States on one mesh dimension."""

    inputs: Code
    gradients: Code
    outputs: Code


def _on_one_dim(operator: GraphOperator, item: Split) -> _Column:
    if item is None:
        whole, written = (REPLICATED,) * len(operator.inputs), (REPLICATED,) * len(operator.outputs)
        return _Column(whole, whole, written)
    if isinstance(item, int):
        passed = operator.partial[item]
        places = range(len(operator.inputs))
        return _Column(
            tuple(PARTIAL if place in passed else REPLICATED for place in places),
            tuple(REPLICATED if place in passed else PARTIAL for place in places),
            (PARTIAL,) * len(operator.outputs),
        )
    left = REPLICATED if item in operator.inner_sums else PARTIAL
    inputs = tuple(_dimension(dims, item) for dims in operator.input_dims)
    summed = REPLICATED if item in operator.inner_sums else PARTIAL
    return _Column(
        tuple(REPLICATED if dim is None else dim for dim in inputs),
        tuple(summed if dim is None else dim for dim in inputs),
        tuple(left if (dim := _dimension(dims, item)) is None else dim for dims in operator.output_dims),
    )


def _dimension(dims: Dims, axis: str) -> int | None:
    """The dimension of a tensor that an axis leads."""
    return next((number for number in range(len(dims)) if leading(dims, number) == axis), None)


def leading(dims: Dims, dimension: int) -> str | None:
    """The axis that is split when a dimension of a tensor is; None where it is of length one by itself."""
    return dims[dimension][0] if dims[dimension] else None


def local_elements(dims: Dims, lengths: Mapping[str, float]) -> float:
    """Elements of a tensor from the local lengths of its axes."""
    return math.prod(lengths[axis] for dim in dims for axis in dim)
