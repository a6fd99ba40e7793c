"""Exact expectation of the wall time under exponential failures, and the best checkpoint interval.

Young: A first order approximation to the optimum checkpoint interval, CACM 17 (1974).
Daly: A higher order estimate of the optimum checkpoint interval for restart dumps, FGCS 22 (2006).
"""

from __future__ import annotations

import math

from planner.errors import NoAnswerError
from planner.simulator.failures.model import FailureModel
from planner.units import format_seconds

_LARGEST_EXPONENT = 700.0
"""exp() of more overflows; a job with so many failures per checkpoint never finishes one."""

_LARGEST_COST = 30.0
"""Snapshots that take this many mean times between failures: the best interval is the mean time but for rounding."""

NEWTON_STEPS = 60

SMALLEST_GOODPUT = 0.01
"""Below it a job is said to make no progress."""


def segment_seconds(model: FailureModel, interval_s: float) -> float:
    """Expected wall time from one durable checkpoint to the next.

    With lambda = 1/M the failure rate, s = interval + C, detection D, restart R and background write A:
    E = (1/lambda + D) exp(lambda (R + A)) (exp(lambda s) - 1). For D = A = 0 this is the complete cost function of Daly
    2006, per segment; docs/failures.md derives the rest. Spares are not limited here.

    Args:
        interval_s: work between two snapshots, at least ``model.background_s``.

    Returns:
        Seconds; infinity when a segment has no chance to be finished.
    """
    rate = model.rate
    recovery = rate * (model.restart_s + model.background_s)
    segment = rate * (interval_s + model.checkpoint_s)
    if recovery + segment > _LARGEST_EXPONENT:
        return math.inf
    return (model.job_mtbf_s + model.detect_s) * math.exp(recovery) * math.expm1(segment)


def expected_goodput(model: FailureModel, interval_s: float) -> float:
    """Share of the wall time that is work which stays done, 0 to 1, with unlimited spares."""
    return interval_s / segment_seconds(model, interval_s)


def best_interval(model: FailureModel, shortest_s: float = 0.0) -> float:
    """The interval with the largest expected goodput.

    With y = interval/M the derivative of ``segment_seconds`` / interval vanishes where y + ln(1 - y) = -C/M; it does not
    depend on detection, restart and background write. Newton from the right of the root converges monotonically,
    because the left side is concave and falls.

    Args:
        shortest_s: lower limit, for example one step; the background write is one too.

    Returns:
        Seconds of work between two snapshots.
    """
    mtbf = model.job_mtbf_s
    cost = model.checkpoint_s / mtbf
    floor = max(shortest_s, model.background_s)
    if cost == 0.0:
        return floor
    if cost > _LARGEST_COST:
        return max(mtbf, floor)
    y = min(math.sqrt(2.0 * cost), -math.expm1(-cost - 1.0))
    for _ in range(NEWTON_STEPS):
        step = (y + math.log1p(-y) + cost) * (1.0 - y) / y
        y += step
        if abs(step) <= 1e-15 * y:
            break
    return max(y * mtbf, floor)


def young_interval(model: FailureModel) -> float:
    """Young 1974: sqrt(2 C M)."""
    return math.sqrt(2.0 * model.checkpoint_s * model.job_mtbf_s)


def daly_interval(model: FailureModel) -> float:
    """Daly 2006: three terms of the perturbation series for C < 2 M, M beyond."""
    cost, mtbf = model.checkpoint_s, model.job_mtbf_s
    if cost >= 2.0 * mtbf:
        return mtbf
    small = math.sqrt(cost / (2.0 * mtbf))
    return math.sqrt(2.0 * cost * mtbf) * (1.0 + small / 3.0 + small * small / 9.0) - cost


def check_progress(model: FailureModel, interval_s: float) -> None:
    """Refuse a job that hardly ever reaches its next checkpoint.

    Raises:
        NoAnswerError: the expected goodput is below ``SMALLEST_GOODPUT``; names the times behind it.
    """
    if expected_goodput(model, interval_s) >= SMALLEST_GOODPUT:
        return
    best = best_interval(model)
    reachable = expected_goodput(model, best)
    hint = (
        f"checkpoint every {format_seconds(best)} for {100 * reachable:.1f} %"
        if reachable >= SMALLEST_GOODPUT
        else "no interval reaches 1 %"
    )
    raise NoAnswerError(
        f"the job makes no progress: it fails every {format_seconds(model.job_mtbf_s)} and needs"
        f" {format_seconds(interval_s + model.checkpoint_s + model.background_s)} from one checkpoint to the next,"
        f" {format_seconds(model.detect_s + model.restart_s)} to recover ({hint})"
    )
