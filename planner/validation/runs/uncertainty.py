"""Where the steps of many rows go at once, by the classes of time that the interval of a single prediction rests on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.pipeline import splits_backward
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass, StageGroup, stage_groups
from planner.costs.step import StepTime, step_time
from planner.costs.uncertainty import PARTS
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts


def time_parts(
    layouts: Layouts, prices: PriceRows, group: StageGroup, step: StepTime
) -> dict[str, FloatArray]:
    """Seconds of the busiest rank by class, shape (rows,); they add up to the step.

    Args:
        layouts, prices, step: of the rows of ``group``.
    """
    rows = len(layouts)
    result = {name: np.zeros(rows) for name in PARTS}
    for index, stage in enumerate(group.classes):
        mine = step.busiest == index
        if not mine.any():
            continue
        time = step.stages[index]
        passes = _passes(layouts, prices, group, stage)
        traffic = sum(time.traffic.by_axis.values(), np.zeros(rows))
        own = {
            "compute": passes["compute"] + time.contention,
            "communication": passes["communication"]
            + traffic
            + time.offload
            + time.exchanges
            + time.tied
            + step.hops,
            "host": passes["host"],
            "optimizer": time.optimizer,
        }
        for name, seconds in own.items():
            result[name] = np.where(mine, seconds, result[name])
    known = sum(result.values(), np.zeros(rows))
    result["bubble"] = np.maximum(step.total - known, 0.0)
    return result


def _passes(
    layouts: Layouts, prices: PriceRows, group: StageGroup, stage: StageClass
) -> dict[str, FloatArray]:
    """Compute, exposed and host seconds of all micro-batches of a stage class."""
    table = prices.prices
    split = splits_backward(layouts.columns["schedule"])
    result = {name: np.zeros(len(layouts)) for name in ("compute", "communication", "host")}
    plain = np.full(len(layouts), len(table.policies) - 1)
    for counts, policies in ((stage.recomputed, prices.policy), (stage.plain, plain)):
        for block, count in counts.items():
            for policy in np.unique(policies):
                rows = np.flatnonzero(policies == policy)
                place = prices.columns(block)[rows]
                price = table.blocks[block][int(policy)]
                for part, share in (
                    (price.forward, 1.0),
                    (price.backward, np.where(split[rows], 0.0, 1.0)),
                    (price.split, np.where(split[rows], 1.0, 0.0)),
                ):
                    exposed = sum(part.exposed.values(), np.zeros_like(part.compute_s))
                    result["compute"][rows] += share * count * part.compute_s[place]
                    result["communication"][rows] += share * count * exposed[place]
                    result["host"][rows] += share * count * part.host_s[place]
    scale = layouts.columns["micro_batches"] * group.turns
    return {name: scale * seconds for name, seconds in result.items()}


def step_and_parts(job: Job, layouts: Layouts, rows: PriceRows) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Seconds of the step and of its parts, shape (rows,).

    Args:
        rows: prices of the layouts' blocks.
    """
    total, parts = np.zeros(len(layouts)), {name: np.zeros(len(layouts)) for name in PARTS}
    for group in stage_groups(layouts, job.model):
        mine, local = layouts.take(group.rows), rows.take(group.rows)
        step = step_time(job, mine, local, group)
        total[group.rows] = step.total
        for name, seconds in time_parts(mine, local, group, step).items():
            parts[name][group.rows] = seconds
    return total, parts


def shares_of(parts: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Each part over their sum, shape (rows,)."""
    total = np.maximum(sum(parts.values(), np.zeros(len(parts["compute"]))), 1e-30)
    return {name: seconds / total for name, seconds in parts.items()}
