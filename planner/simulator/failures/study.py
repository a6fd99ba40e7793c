"""The failure study of one job: goodput, the best checkpoint interval, and what a failing cluster costs."""

from __future__ import annotations

from collections.abc import Callable

from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.simulator.failures.analytic import (
    SMALLEST_GOODPUT,
    best_interval,
    check_progress,
    daly_interval,
    expected_goodput,
    young_interval,
)
from planner.simulator.failures.assumptions import assumptions_of
from planner.simulator.failures.checkpoint import checkpoint_cost
from planner.simulator.failures.model import FailureModel
from planner.simulator.failures.monte_carlo import Runs, check_size, simulate_runs
from planner.simulator.failures.options import LLAMA3_DEVICE_MTBF_S, FailureOptions
from planner.simulator.failures.result import FailureStudy, IntervalRow
from planner.units import format_seconds

Progress = Callable[[float, str], None]

FACTORS = (0.125, 0.25, 0.5, 0.71, 1.0, 1.41, 2.0, 4.0, 8.0)
"""Intervals of the table as multiples of the best one."""

SAME = 0.02
"""Intervals closer than this are one row of the table."""


def study(
    job: Job,
    step_time_s: float,
    options: FailureOptions | None = None,
    *,
    mfu: float | None = None,
    progress: Progress | None = None,
) -> FailureStudy:
    """Goodput of a job over days of node failures.

    Args:
        step_time_s: predicted or simulated step without failures.
        mfu: of that step, for the effective MFU.
        progress: called with (fraction done, message).

    Raises:
        PlannerError: no mean time between failures is known, or an option does not fit the job.
        NoAnswerError: the job makes no progress.
    """
    chosen = options or FailureOptions()
    cost = checkpoint_cost(job, chosen.checkpoint_bandwidth, chosen.checkpoint_s)
    model = failure_model(job, chosen, cost.seconds)
    if model.background_s > chosen.horizon_s:
        raise PlannerError(
            f"found {format_seconds(model.background_s)}, longer than the horizon of"
            f" {format_seconds(chosen.horizon_s)}",
            field="--checkpoint-background",
        )
    best = min(best_interval(model, step_time_s), chosen.horizon_s)
    interval = _interval(chosen, model, step_time_s, best)
    check_progress(model, interval)
    check_size(model, chosen.horizon_s, chosen.runs)
    runs, table = _table(model, chosen, interval, best, step_time_s, progress)
    return FailureStudy(
        model,
        chosen,
        cost,
        step_time_s,
        mfu,
        interval,
        best,
        young_interval(model),
        daly_interval(model),
        expected_goodput(model, interval),
        runs,
        table,
        assumptions_of(job, chosen),
    )


def failure_model(job: Job, options: FailureOptions, checkpoint_s: float) -> FailureModel:
    """The failure model of a job: every device of its nodes at risk.

    Raises:
        PlannerError: neither the cluster nor the options know a mean time between failures.
    """
    mtbf = options.mtbf_s if options.mtbf_s is not None else job.cluster.mtbf_s
    if mtbf is None:
        raise PlannerError(
            "the cluster gives no mean time between failures of a device; accepted: a time such as 50000 h"
            f" (Llama 3's H100s: {LLAMA3_DEVICE_MTBF_S / 3600:,.0f} h, arXiv 2407.21783), here or as mtbf of the cluster",
            field="--mtbf",
        )
    return FailureModel(
        devices=job.devices,
        devices_per_node=job.cluster.devices_per_node,
        device_mtbf_s=mtbf,
        checkpoint_s=checkpoint_s,
        background_s=options.checkpoint_background_s,
        detect_s=options.detect_s,
        restart_s=options.restart_s,
        spares=options.spares,
        repair_s=options.repair_s,
    )


def _interval(options: FailureOptions, model: FailureModel, step_time_s: float, best: float) -> float:
    """The user's interval if it can be, else the best one."""
    asked = options.checkpoint_interval_s
    longest = options.horizon_s
    shortest = max(step_time_s, model.background_s)
    if shortest > longest:
        what = "one step" if step_time_s >= model.background_s else "the background write of a checkpoint"
        raise PlannerError(
            f"found {format_seconds(longest)}, shorter than {what} of {format_seconds(shortest)}",
            field="--days",
        )
    if asked is None:
        return best
    if not shortest <= asked <= longest:
        raise PlannerError(
            f"found {format_seconds(asked)}; accepted: from {format_seconds(shortest)} (one step, and the time until a"
            f" checkpoint is durable) to {format_seconds(longest)} (the simulated days)",
            field="--checkpoint-interval",
        )
    return asked


def _table(
    model: FailureModel,
    options: FailureOptions,
    interval: float,
    best: float,
    step_time_s: float,
    progress: Progress | None,
) -> tuple[Runs, tuple[IntervalRow, ...]]:
    """Runs at the chosen interval, and goodput around the best one, ascending."""
    wanted = [interval, best, daly_interval(model), young_interval(model), *(best * f for f in FACTORS)]
    shortest = max(step_time_s, model.background_s)
    shown: list[float] = []
    for value in wanted:
        apart = all(abs(value / other - 1.0) > SAME for other in shown)
        if apart and shortest <= value <= options.horizon_s and _progresses(model, value):
            shown.append(value)
    rows, chosen = [], None
    for done, value in enumerate(shown):
        if progress is not None:
            progress(
                done / len(shown), f"{options.runs} runs with a checkpoint every {format_seconds(value)}"
            )
        runs = simulate_runs(model, value, horizon_s=options.horizon_s, runs=options.runs, seed=options.seed)
        chosen = chosen or runs
        low, high = runs.percentiles(5, 95)
        error = runs.standard_error
        rows.append(IntervalRow(value, expected_goodput(model, value), runs.goodput, error, low, high))
    assert chosen is not None  # the chosen interval is the first one shown
    return chosen, tuple(sorted(rows, key=lambda row: row.interval_s))


def _progresses(model: FailureModel, interval_s: float) -> bool:
    return expected_goodput(model, interval_s) >= SMALLEST_GOODPUT
