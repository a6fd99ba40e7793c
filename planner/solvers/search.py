"""``search``: the best layouts of a job with proof."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from planner.costs.predict import predict_ranking
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.space.space import Space, describe, search_space
from planner.solvers.bounds import require_closed_forms
from planner.solvers.noise import noise_of
from planner.solvers.pareto import DEFAULT_AXES, Axis, cost_of_tokens, pareto_points
from planner.solvers.pessimistic import POOL, check_objective, rank_pessimistic
from planner.solvers.result import SearchResult
from planner.solvers.sweep import Progress, Sweep, SweepOptions, sweep_space
from planner.solvers.unfit import explain_empty, explain_unfit


def search(
    job: Job,
    *,
    top: int = 10,
    gap: float = 0.0,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
    prune: bool = True,
    pareto: bool = True,
    axes: Sequence[Axis] = DEFAULT_AXES,
    pessimistic: bool = False,
) -> SearchResult:
    """The ``top`` layouts of the job's search space by its objective, the Pareto set, and what is proved.

    Args:
        gap: stop when nothing left can be better than the best by more than this fraction.
        time_limit_s: stop after this long with the best so far, not proved.
        progress: called with (done fraction, message).
        prune: False evaluates every layout that fits; the result is the same.
        pareto: False skips the Pareto set, which lets bounds stop the search earlier.
        axes: of the Pareto set.
        pessimistic: rank by the upper end of the interval instead of the expected time.

    Raises:
        NoAnswerError: no layout is legal, or none fits: names the leanest one and what would help.
        PlannerError: a search option is wrong.
    """
    begin = time.monotonic()
    deadline = None if time_limit_s is None else begin + time_limit_s
    if pessimistic:
        check_objective(job)
    pool = max(top, POOL) if pessimistic else top
    options = SweepOptions(top=pool, gap=gap, deadline_s=deadline, prune=prune, pareto=pareto)
    if job.search.objective == "devices":
        from planner.solvers.devices import fewest_devices

        job, space, sweep, seen = fewest_devices(job, options, progress)
    else:
        space = checked_space(job)
        sweep = sweep_space(job, space, options, job.search.objective, progress)
        seen = space.size
    if not len(sweep.ranking.points):
        raise explain_unfit(job, space, finished=sweep.finished)
    plans, proved = _ranked(job, sweep, pool if pessimistic else None)
    plans = plans[:top]
    summary = {
        "knobs": describe(space),
        "candidates": seen,
        "evaluated": sweep.evaluated,
        "pruned": sweep.pruned,
        "seconds": time.monotonic() - begin,
    }
    pareto_set = pareto_points(job, sweep.frontier.points, axes)
    proof = certificate(job, sweep) | proved
    price = job.cluster.price_per_device_hour
    return SearchResult(plans, summary, proof, pareto_set, noise_of(job, plans), tuple(axes), price)


def _ranked(job: Job, sweep: Sweep, pool: int | None) -> tuple[tuple[Prediction, ...], dict[str, Any]]:
    """The sweep's plans in the order that was asked for, and what is proved of it beyond the certificate.

    Args:
        pool: most plans that the sweep keeps to be ranked by the upper ends of their intervals; None: by expected value.
    """
    points = sweep.ranking.points
    plans = predict_ranking(job, points.layouts)
    if pool is None:
        return plans, {}
    found = rank_pessimistic(job, plans, whole=len(plans) < pool, finished=sweep.finished)
    return found.plans, {"pessimistic": found.claim}


def checked_space(job: Job) -> Space:
    """The search space, which must hold a layout, and only schedules that have a closed form.

    Raises:
        NoAnswerError: no layout is legal.
        PlannerError: the user allows a schedule that only a simulation can price.
    """
    space = search_space(job)
    if not space.size:
        raise explain_empty(job)
    require_closed_forms(job, space.outer)
    return space


def certificate(job: Job, sweep: Sweep) -> dict[str, Any]:
    """What the sweep proves: the optimum of the closed-form model over the space, or how far it may be off.

    ``best_s`` and ``lower_bound_s`` are seconds per step for the time objectives; for ``memory`` they are absent and
    ``best`` and ``lower_bound`` are bytes, for ``cost`` device-seconds, with ``best_per_million_tokens`` and
    ``lower_bound_per_million_tokens`` in the currency of the price. ``ties`` counts the ranked layouts with exactly the best
    value, the first one included.
    """
    best, bound = sweep.ranking.best, sweep.lower_bound
    gap = 0.0 if sweep.finished else max(0.0, 1.0 - bound / best)
    objective = job.search.objective
    suffix = "_s" if objective in ("step_time", "devices") else ""
    result: dict[str, Any] = {"exact_for": "closed_form", "objective": objective, "proved": gap == 0.0}
    ties = int(np.count_nonzero(sweep.ranking.values(sweep.ranking.points) == best))
    result |= {f"best{suffix}": best, f"lower_bound{suffix}": bound, "gap": gap, "ties": ties}
    if not suffix:
        time_s = float(sweep.ranking.points.time_s[0])
        result |= {"best_s": time_s, "lower_bound_s": time_s if gap == 0.0 else None}
    if objective == "cost" and job.cluster.price_per_device_hour is not None:
        result |= {
            f"{name}_per_million_tokens": cost_of_tokens(job, 1, result[name])
            for name in ("best", "lower_bound")
        }
    return result
