"""The whole fit: rows in, constants and errors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.calibration.fit.constants import Key
from planner.calibration.fit.crossed import Crossed, cross_validate
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.folds import Method
from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import Problem, Progress, build_problem
from planner.calibration.fit.result import (
    GroupErrors,
    at_bound,
    calibration_of,
    group_errors,
)
from planner.calibration.fit.solve import STIFFNESS, Fit, solve
from planner.calibration.fit.unfitted import unfitted_errors
from planner.errors import PlannerError
from planner.hardware.calibration import Calibration
from planner.validation.runs.reading import read_rows, row_files
from planner.validation.runs.votes import load_votes


@dataclass(frozen=True)
class FitOptions:
    """How to fit; see ``solve``.

    Args:
        workers: processes, None for one per core.
        left_out: how to predict models and families that are left out; see ``folds.left_out``.
    """

    name: str = "published-runs"
    stiffness: float = STIFFNESS
    renewals: int = 3
    workers: int | None = None
    left_out: Method = "refit"


@dataclass(frozen=True)
class FitReport:
    """What a fit found.

    Args:
        bounds: constants at a physical bound.
        crossed: left-out predictions, None when they were not asked for.
    """

    problem: Problem
    fit: Fit
    calibration: Calibration
    groups: tuple[GroupErrors, ...]
    bounds: tuple[Key, ...]
    crossed: Crossed | None


def fit_runs(
    paths: Sequence[str | Path],
    options: FitOptions | None = None,
    progress: Progress = lambda done, message: None,
) -> FitReport:
    """Constants fitted to the complete rows of files or folders.

    Raises:
        PlannerError: unreadable files, or no row that can be fitted.
    """
    options = options or FitOptions()
    rows = list(read_rows(paths))
    votes = load_votes()
    problem = build_problem(rows, votes, lambda done, message: progress(0.05 * done, message))
    if not problem.measurements:
        raise PlannerError("no complete row measured a step time, so nothing can be fitted")
    fit = solve(
        Predictor(problem, options.workers),
        stiffness=options.stiffness,
        renewals=options.renewals,
        progress=lambda done, message: progress(0.05 + 0.45 * done, message),
    )
    crossed = None
    if options.left_out != "none":
        crossed = cross_validate(
            problem,
            fit,
            options.stiffness,
            options.left_out,
            unfitted=unfitted_errors(rows, votes, problem, fit.linear.position),
            workers=options.workers,
            progress=lambda done, message: progress(0.5 + 0.5 * done, message),
        )
    calibration = calibration_of(problem, fit, options.name, data_digest(row_files(paths)))
    if crossed is not None:
        calibration = calibration.model_copy(update={"spreads": crossed.spreads})
    out = (None, None) if crossed is None else (crossed.model_out, crossed.family_out)
    groups = group_errors(problem, fit, *out)
    return FitReport(problem, fit, calibration, tuple(groups), tuple(at_bound(problem, fit)), crossed)
