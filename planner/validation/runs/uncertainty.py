"""Intervals of many rows at once, from the same widths as the interval of a single prediction."""

from __future__ import annotations

import numpy as np

from planner.costs.evidence import NORMAL_80, SPREADS
from planner.costs.pipeline import splits_backward
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import StepTime
from planner.layouts.layouts import Layouts

PARTS = ("compute", "communication", "host", "optimizer", "bubble")


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
    width = len(table.keys)
    split = splits_backward(layouts.columns["schedule"])
    result = {name: np.zeros(len(layouts)) for name in ("compute", "communication", "host")}
    for counts, position in ((stage.recomputed, prices.with_policy), (stage.plain, prices.plain)):
        for block, count in counts.items():
            for policy in np.unique(position // width):
                rows = np.flatnonzero(position // width == policy)
                place = position[rows] % width
                price = table.blocks[block][int(policy)]
                for part, share in (
                    (price.forward, 1.0),
                    (price.backward, np.where(split[rows], 0.0, 1.0)),
                    (price.split, np.where(split[rows], 1.0, 0.0)),
                ):
                    exposed = sum(part.exposed.values(), np.zeros(width))
                    result["compute"][rows] += share * count * part.compute_s[place]
                    result["communication"][rows] += share * count * exposed[place]
                    result["host"][rows] += share * count * part.host_s[place]
    scale = layouts.columns["micro_batches"] * group.turns
    return {name: scale * seconds for name, seconds in result.items()}


def interval_factor(parts: dict[str, FloatArray]) -> FloatArray:
    """Upper end of the 80 % interval over the prediction, shape (rows,): parts are taken as independent."""
    total = sum(parts.values(), np.zeros(len(parts["compute"])))
    squares = [(SPREADS[name] * seconds / np.maximum(total, 1e-30)) ** 2 for name, seconds in parts.items()]
    return np.asarray(np.exp(NORMAL_80 * np.sqrt(sum(squares, np.zeros_like(total)))))
