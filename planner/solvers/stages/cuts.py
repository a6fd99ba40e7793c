"""Where to cut a row of layers into stages: exact dynamic programme over prefixes."""

from __future__ import annotations

import numpy as np

from planner.solvers.stages.instance import Floats, Ints
from planner.solvers.stages.table import StageTable


def best_cuts(table: StageTable, below: float = np.inf) -> Ints | None:
    """(S + 1,) bounds of the stages that minimise max bottleneck + sum of seconds; None when nothing fits.

    Args:
        below: only a step shorter than this is of interest; None also when there is none.

    For a cap on the bottleneck the least sum comes from a dynamic programme over prefixes of layers. Lower caps never
    give lower sums, so the caps go down from none: each time to just below the bottleneck that was found, until no sum
    can make up for the least bottleneck that is possible. Of equally long steps the one with the lower sum wins, of
    those the one whose stages begin earliest.
    """
    least = _least_bottleneck(table)
    best, answer, cap = below, None, np.inf
    while cap > least:
        cuts, total = _least_sum(np.where(table.bottleneck < cap, table.seconds, np.inf))
        if cuts is None or least + total >= best:
            return answer
        stages = np.arange(len(cuts) - 1)
        cap = float(table.bottleneck[stages, cuts[:-1], cuts[1:]].max())
        if cap + total < best:
            best, answer = cap + total, cuts
        cap = min(cap, best - total)  # sums only grow, so a better step has a lower bottleneck than this
    return answer


def _least_sum(seconds: Floats) -> tuple[Ints | None, float]:
    """The cuts with the least sum of seconds, and that sum."""
    stages, ends = seconds.shape[0], seconds.shape[1]
    reached = np.full(ends, np.inf)
    reached[0] = 0.0
    came = np.zeros((stages, ends), np.int64)
    places = np.arange(ends)
    for stage in range(stages):
        through = reached[:, None] + seconds[stage]
        came[stage] = through.argmin(axis=0)
        reached = through[came[stage], places]
    if not np.isfinite(reached[-1]):
        return None, np.inf
    cuts = np.empty(stages + 1, np.int64)
    cuts[-1] = ends - 1
    for stage in range(stages - 1, -1, -1):
        cuts[stage] = came[stage, cuts[stage + 1]]
    return cuts, float(reached[-1])


def _least_bottleneck(table: StageTable) -> float:
    """The smallest bottleneck that any cut has."""
    reached = np.full(table.seconds.shape[1], np.inf)
    reached[0] = -np.inf
    for slowest in table.bottleneck:
        reached = np.maximum(reached[:, None], slowest).min(axis=0)
    return float(reached[-1])
