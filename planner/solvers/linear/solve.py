"""Solves a programme and says what is proved."""

from __future__ import annotations

import math
import time
from typing import Literal, get_args

import numpy as np

from planner.errors import PlannerError
from planner.solvers.linear.programme import Floats, Programme
from planner.solvers.linear.solution import Solution, Status

BackEnd = Literal["highs", "cbc"]
BACK_ENDS: tuple[BackEnd, ...] = get_args(BackEnd)


def solve(
    programme: Programme,
    back_end: BackEnd = "highs",
    *,
    time_limit_s: float | None = 60.0,
    gap: float = 0.0,
    threads: int = 1,
    seed: int = 0,
    start: Floats | None = None,
    relaxed: bool = False,
) -> Solution:
    """The best values of a programme.

    After a time limit with an incumbent PuLP's ``status`` reads "Optimal" for both solvers, so only ``sol_status``
    counts here, and values are checked against the programme before they are believed. The rows' coefficients should
    be near 1 (milliseconds and gigabytes rather than seconds and bytes), as solvers' tolerances are absolute.

    Args:
        gap: relative gap at which a solution counts as optimal.
        start: values to begin with; the result is never worse than them. Ignored when they break the programme.
        relaxed: leave integrality out, which gives a lower bound quickly.

    Raises:
        PlannerError: the back end failed or is unknown.
    """
    from pulp import PulpSolverError

    from planner.solvers.linear.back_ends import Limits, run_cbc, run_highs

    if back_end not in BACK_ENDS:
        raise PlannerError(f"unknown solver '{back_end}'; accepted: {', '.join(BACK_ENDS)}")
    begin = time.monotonic()
    asked = programme.relaxed() if relaxed else programme
    if start is not None and not asked.accepts(start):
        start = None
    limits = Limits(time_limit_s, gap, threads, seed)
    try:
        outcome = (run_highs if back_end == "highs" else run_cbc)(asked, limits, start)
    except PulpSolverError as error:
        raise PlannerError(f"the solver {back_end} failed: {error}") from None
    status = _status(outcome.sol_status)
    values = _believed(asked, outcome.values) if status in ("optimal", "feasible") else None
    from_start = start is not None and (
        values is None
        or asked.objective(start) < asked.objective(values) - 1e-12 * abs(asked.objective(start))
    )
    if from_start:
        values, status = start, "optimal" if status == "optimal" else "feasible"
    elif values is None and status in ("optimal", "feasible"):
        status = "none"
    objective = None if values is None else asked.objective(values)
    bound = _bound(asked, status, objective, outcome.bound)
    return Solution(status, values, objective, bound, time.monotonic() - begin, back_end, from_start)


def _status(sol_status: int) -> Status:
    import pulp

    names: dict[int, Status] = {
        pulp.LpSolutionOptimal: "optimal",
        pulp.LpSolutionIntegerFeasible: "feasible",
        pulp.LpSolutionInfeasible: "infeasible",
        pulp.LpSolutionUnbounded: "unbounded",
    }
    return names.get(sol_status, "none")


def _believed(programme: Programme, values: Floats | None) -> Floats | None:
    """The solver's values, whole where they must be; None when they break the programme."""
    if values is None:
        return None
    whole = np.clip(np.where(programme.integer, np.rint(values), values), programme.lower, programme.upper)
    return next((candidate for candidate in (whole, values) if programme.accepts(candidate)), None)


def _bound(programme: Programme, status: Status, objective: float | None, told: float) -> float:
    """The solver's bound, never above the objective and at least what the variables' bounds give; infinite when infeasible."""
    if status == "infeasible":
        return math.inf
    if math.isnan(told):
        told = objective if status == "optimal" and objective is not None else -math.inf
    with np.errstate(invalid="ignore"):
        sides = np.where(programme.cost > 0, programme.lower, programme.upper)
        plain = float(np.where(programme.cost == 0, 0.0, programme.cost * sides).sum())
    best = max(told, plain) if math.isfinite(plain) else told
    return best if objective is None else min(best, objective)
