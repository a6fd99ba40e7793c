"""Whether intervals hold what was left out, by spreads that have not seen it either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.calibration.fit.problem import Problem
from planner.calibration.fit.spreads import LeftOut, Unfitted, fit_spreads
from planner.costs.uncertainty import NORMAL_80, log_spread
from planner.hardware.spreads import Spreads


@dataclass(frozen=True)
class Coverage:
    """Share of measurements inside their 80 % interval, and median width (upper over lower end, less one)."""

    inside: float
    width: float


def coverage(problem: Problem, item: LeftOut, spreads: Spreads) -> dict[str, Coverage]:
    """By family: how much of it the 80 % intervals of these spreads hold."""
    widths = log_spread(spreads, item.counted) * NORMAL_80
    families = np.array([measurement.group[0] for measurement in problem.measurements])
    result = {}
    for name in sorted(set(families.tolist())):
        mine = families == name
        inside = np.abs(item.errors[mine]) <= widths[mine]
        votes = problem.weights[mine]
        result[name] = Coverage(
            float(votes @ inside / votes.sum()), float(np.median(np.exp(2.0 * widths[mine]) - 1.0))
        )
    return result


def crossed_coverage(
    problem: Problem, found: Sequence[LeftOut], unfitted: Unfitted | None = None
) -> list[dict[str, Coverage]]:
    """``coverage`` of each kind of leaving out, every family by spreads that were fitted without its errors."""
    result: list[dict[str, Coverage]] = [{} for _ in found]
    for name in sorted({measurement.group[0] for measurement in problem.measurements}):
        spreads = fit_spreads(problem, found, unfitted, without=name)
        for item, inside in zip(found, result, strict=True):
            inside[name] = coverage(problem, item, spreads)[name]
    return result
