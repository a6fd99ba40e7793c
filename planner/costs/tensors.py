"""Parameters of a block as a framework stores them: one tensor where it fuses projections of one input."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

from planner.costs.sizes import FloatArray, local_parameter
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.models.graph import Block, Parameter

Axis = Literal["dp", "edp"]
"""Of routed experts (edp), and of all other parameters."""

AXES: tuple[Axis, ...] = ("dp", "edp")


def block_tensors(
    job: Job, block: Block, layouts: Layouts, tables: Collection[str] = ()
) -> list[tuple[Axis, FloatArray]]:
    """Tensors of a block in the order of its modules: the axis that shares them, and local elements, (rows,).

    Args:
        tables: tied parameters that the rank stores a copy of.
    """
    fused = "qkv" in job.framework.fusions
    found: dict[tuple[Axis, str], FloatArray] = {}
    for name, parameter in block.parameters.items():
        if parameter.tied_to is not None and parameter.tied_to not in tables:
            continue
        axis: Axis = "edp" if "experts" in parameter.axis_names else "dp"
        for key, elements in _parts(parameter, name, layouts, fused):
            found[axis, key] = found[axis, key] + elements if (axis, key) in found else elements
    return [(axis, elements) for (axis, _), elements in found.items()]


def _parts(
    parameter: Parameter, name: str, layouts: Layouts, fused: bool
) -> Iterator[tuple[str, FloatArray]]:
    elements = local_parameter(parameter.axes, layouts)
    projection, _, kind = name.rpartition("_")
    if fused:
        yield (f"qkv_{kind}" if projection in ("q", "k", "v") else name), elements
        return
    halves = next((axis.size or 1 for axis in parameter.axes if axis.name == "gated"), 1)
    count = 1 if "experts" in parameter.axis_names else halves
    yield from ((f"{name} {part}", elements // count) for part in range(count))
