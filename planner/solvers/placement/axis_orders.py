"""All orders of a layout's mesh axes on the levels of the network, priced by the cost model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.costs.evaluate import evaluate
from planner.jobs.types import Job
from planner.layouts.layout import DEFAULT_AXIS_ORDER, Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import legal_mask, require_legal


@dataclass(frozen=True)
class AxisOrder:
    """One distinct order.

    Args:
        order: innermost first, as the knob takes it. moved: of it the axes of several ranks.
        step_time_s: of the layout with it.
        fits: inside memory.
        chosen: whether it is the layout's own.
    """

    order: tuple[str, ...]
    moved: tuple[str, ...]
    step_time_s: float
    fits: bool
    chosen: bool

    def to_json(self) -> Mapping[str, Any]:
        """Plain data."""
        return {
            "order": list(self.order),
            "step_time_s": self.step_time_s,
            "fits": self.fits,
            "chosen": self.chosen,
        }


def axis_orders(job: Job, layout: Layout) -> tuple[AxisOrder, ...]:
    """Every legal order that lays the ranks differently, fastest first, those that do not fit last.

    Of equally fast ones the layout's own comes first, then the one nearest to the default.

    Raises:
        PlannerError: the layout is illegal, or its schedule has no closed form.
    """
    require_legal(job, layout)
    moving = _moving_axes(layout)
    distinct = {_seen(order, moving): order for order in reversed(_orders(layout.axis_order))}
    layouts = from_layouts([replace(layout, axis_order=order) for order in distinct.values()])
    legal = np.flatnonzero(legal_mask(layouts, job))
    priced = evaluate(job, layouts.take(legal))
    own = _seen(layout.axis_order, moving)
    rows = [
        AxisOrder(order, _moved(order, moving), float(time), bool(fits), _seen(order, moving) == own)
        for order, time, fits in zip(
            [list(distinct.values())[row] for row in legal],
            priced.step_time_s,
            priced.memory.fits,
            strict=True,
        )
    ]
    return tuple(
        sorted(rows, key=lambda row: (not row.fits, row.step_time_s, not row.chosen, _from_default(row)))
    )


def _orders(own: tuple[str, ...]) -> list[tuple[str, ...]]:
    """All orders: the layout's own first, then from the default on."""
    return [own, *(order for order in itertools.permutations(DEFAULT_AXIS_ORDER) if order != own)]


def _moving_axes(layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Axes of the attention mesh and of the expert mesh that have more than one rank."""
    attention = {"tp": layout.tp, "cp": layout.cp, "dp": layout.dp, "pp": layout.pp}
    experts = (
        {"tp": layout.etp, "ep": layout.ep, "dp": layout.edp, "pp": layout.pp} if _has_experts(layout) else {}
    )
    return _above_one(attention), _above_one(experts)


def _has_experts(layout: Layout) -> bool:
    return layout.ep > 1 or layout.etp != layout.tp


def _above_one(degrees: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(axis for axis, degree in degrees.items() if degree > 1)


def _seen(order: tuple[str, ...], moving: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """The order as far as the ranks feel it."""
    return tuple(tuple(axis for axis in order if axis in mesh) for mesh in moving)


def _moved(order: tuple[str, ...], moving: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """Axes that have several ranks in either mesh."""
    return tuple(axis for axis in order if any(axis in mesh for mesh in moving))


def _from_default(row: AxisOrder) -> tuple[int, ...]:
    return tuple(DEFAULT_AXIS_ORDER.index(axis) for axis in row.order)
