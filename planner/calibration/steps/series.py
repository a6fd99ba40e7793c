"""From the figures of many steps to one: warm-up dropped, outliers flagged, median and spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

UNSETTLED = 0.10
"""A step at the beginning that differs from the median by more than this part is warm-up."""

MOST_WARM_UP = 0.5
"""Part of the steps that may be warm-up."""

OUTLIER = 0.10
"""A later step that is longer than the median by more than this part, and by more than ``OUTLIER_SPREADS``, is an outlier."""

OUTLIER_SPREADS = 6.0

NORMAL = 1.4826
"""Standard deviation over median absolute deviation, for a normal distribution."""


@dataclass(frozen=True)
class Steady:
    """The steady part of a run.

    Args:
        seconds: median of a step.
        spread: standard deviation over median, by the median absolute deviation.
        count: steps that count.
        warm_up: numbers of the steps that were dropped at the beginning.
        outliers: numbers of those that took much longer: checkpoints, garbage collection, other jobs.
    """

    seconds: float
    spread: float
    count: int
    warm_up: tuple[int, ...] = ()
    outliers: tuple[int, ...] = ()


def steady(steps: Sequence[int], seconds: Sequence[float]) -> Steady:
    """The steady part of a series in the order of its steps.

    Args:
        steps, seconds: number and duration of each, at least one.
    """
    first = _settled(seconds)
    kept = list(zip(steps[first:], seconds[first:], strict=True))
    middle = statistics.median(value for _, value in kept)
    deviation = NORMAL * statistics.median(abs(value - middle) for _, value in kept)
    limit = middle + max(OUTLIER * middle, OUTLIER_SPREADS * deviation)
    usual = [value for _, value in kept if value <= limit]
    median = statistics.median(usual)
    spread = NORMAL * statistics.median(abs(value - median) for value in usual) / median
    outliers = tuple(step for step, value in kept if value > limit)
    return Steady(median, spread, len(usual), tuple(steps[:first]), outliers)


def _settled(seconds: Sequence[float]) -> int:
    """Where the steady part begins."""
    middle = statistics.median(seconds[len(seconds) // 2 :])
    most = int(MOST_WARM_UP * len(seconds))
    return next((index for index in range(most) if abs(seconds[index] - middle) <= UNSETTLED * middle), most)
