"""Lower bounds of step time for whole families of layouts, cheap enough to sort and prune by."""

from __future__ import annotations

import numpy as np

from planner.costs.hops import exposed_hops
from planner.costs.pipeline import CLOSED_FORMS, waiting
from planner.costs.prices import PriceRows, Prices
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageGroup, stage_groups
from planner.costs.step import beside_others, pass_seconds
from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import Layouts

SLACK = 1.0 - 1e-9
"""Bounds and step times sum the same terms in another order; this covers the rounding."""


def require_closed_forms(job: Job, outer: Layouts) -> None:
    """Refuse schedules that only a simulation can price.

    Raises:
        PlannerError: the user allows such a schedule.
    """
    missing = sorted({SCHEDULES[code] for code in set(outer.schedule.tolist())} - set(CLOSED_FORMS))
    if missing:
        accepted = ", ".join(CLOSED_FORMS)
        raise PlannerError(
            f"schedule {missing[0]} has no closed form to search with; accepted: {accepted}",
            field="search.allow.schedule" if "schedule" in job.search.allow else "search.fix.schedule",
        )


def time_lower_bound(job: Job, outer: Layouts, prices: Prices) -> FloatArray:
    """Seconds that no layout under an outer row can beat, shape (rows,).

    It is the step with nothing recomputed and with data-parallel traffic, offload traffic and the optimizer free:
    forward and backward passes of the slowest rank, fill and drain of the others, hops. Recompute, sharding and
    offload only add to these terms, so the bound holds for every choice of them. See docs/search.md.

    Args:
        outer: rows with neutral inner knobs (``Space.outer``).
        prices: block prices that cover the rows, or the least over all meshes of the experts.
    """
    rows = prices.rows(outer)
    result = np.zeros(len(outer))
    for group in stage_groups(outer, job.model):
        result[group.rows] = _group_bound(job, outer.take(group.rows), rows.take(group.rows), group)
    return result * SLACK


def _group_bound(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> FloatArray:
    passes = []
    for stage in group.classes:
        nothing: dict[str, int] = {}
        blocks = {name: stage.recomputed.get(name, 0) + stage.plain.get(name, 0) for name in job.model.blocks}
        passes.append(pass_seconds(layouts, prices, group, (nothing, blocks)))
    micro_batches = layouts.columns["micro_batches"]
    own = [micro_batches * (f + b) for f, b, _ in passes]
    waits = waiting(layouts.columns, [stage.ranks for stage in group.classes], passes)
    ranks = [
        mine + beside_others(mine, wait, job.cluster.devices_per_core)
        for mine, wait in zip(own, waits, strict=True)
    ]
    slowest: FloatArray = np.max(np.stack(ranks), axis=0)
    return slowest + exposed_hops(job, layouts, prices, group, slowest)
