"""The Pareto set of a search over any two or more of step time, memory, money and devices, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from planner.costs.sizes import FloatArray
from planner.errors import PlannerError, suggest
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layouts import IntArray
from planner.solvers.frontier import Points

Axis = Literal["step_time", "memory", "cost", "devices"]
AXES: tuple[Axis, ...] = get_args(Axis)
DEFAULT_AXES: tuple[Axis, ...] = ("step_time", "memory", "devices")

SECONDS_PER_HOUR = 3600.0
TOKENS = 1e6
"""Tokens that prices are given for."""


def parse_axes(text: str, *, field: str = "--pareto") -> tuple[Axis, ...]:
    """Axes such as ``step_time,cost``.

    Raises:
        PlannerError: an unknown one, one given twice, or only one.
    """
    axes: list[Axis] = []
    for word in (part.strip() for part in text.split(",")):
        found = next((axis for axis in AXES if axis == word), None)
        if found is None:
            raise PlannerError(f"unknown axis '{word}'; {suggest(word, AXES)}", field=field)
        if found in axes:
            raise PlannerError(f"'{word}' is given twice", field=field)
        axes.append(found)
    if len(axes) < 2:
        raise PlannerError("found one axis; accepted: two or more, for example step_time,memory", field=field)
    return tuple(axes)


def cost_of_step(job: Job, devices: int, seconds: float) -> float | None:
    """What a step costs in the currency of the cluster's price; None without one."""
    price = job.cluster.price_per_device_hour
    return None if price is None else price * devices * seconds / SECONDS_PER_HOUR


def cost_of_tokens(job: Job, devices: int, seconds: float) -> float | None:
    """What a million tokens cost when a step takes that long; None without a price."""
    step = cost_of_step(job, devices, seconds)
    return None if step is None else step / job.training.tokens_per_step * TOKENS


def pareto_points(
    job: Job, points: Points, axes: Sequence[Axis] = DEFAULT_AXES
) -> tuple[Mapping[str, Any], ...]:
    """The points that no other equals or beats in all of the axes, by the axes in their order.

    Args:
        points: the set over step time, memory and devices. What is best in some of these, or in cost (time x devices, which
            grows with both), is among them, or has an equal in those axes there.
    """
    result = []
    for row in front(points, axes).tolist():
        seconds, devices = float(points.time_s[row]), int(points.devices[row])
        result.append(
            {
                "layout": layout_to_knobs(points.layouts.row(row)),
                "step_time_s": seconds,
                "device_used_bytes": float(points.memory_bytes[row]),
                "devices": devices,
                "cost": cost_of_step(job, devices, seconds),
                "cost_per_million_tokens": cost_of_tokens(job, devices, seconds),
            }
        )
    return tuple(result)


def front(points: Points, axes: Sequence[Axis]) -> IntArray:
    """Rows that no other equals or beats in all of the axes; of equals the first by time, memory, devices and knobs."""
    columns: Mapping[Axis, FloatArray] = {
        "step_time": points.time_s,
        "memory": points.memory_bytes,
        "cost": points.time_s * points.devices,
        "devices": points.devices.astype(np.float64),
    }
    values = np.stack([columns[axis] for axis in axes], axis=1)
    kept: list[int] = []
    keys = [columns[axis] for axis in (*axes, "step_time", "memory", "devices")]
    # in this order whoever equals or beats a point comes before it
    for row in points.ordered(keys).tolist():
        if not (values[kept] <= values[row]).all(axis=1).any():
            kept.append(row)
    return np.array(kept, dtype=np.int64)
