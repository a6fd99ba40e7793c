"""The whole fit: rows in, constants and errors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.calibration.fit.constants import Key
from planner.calibration.fit.folds import Method, family_folds, left_out, model_folds
from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import FloatArray, Problem, Progress, build_problem
from planner.calibration.fit.result import (
    GroupErrors,
    at_bound,
    calibration_of,
    data_digest,
    group_errors,
)
from planner.calibration.fit.solve import STIFFNESS, Fit, solve
from planner.errors import PlannerError
from planner.hardware.calibration import Calibration
from planner.validation.runs.reading import read_rows, row_files
from planner.validation.runs.votes import load_votes

ACROSS_SOURCES = 3.0
"""How much stiffer priors are when a whole family is left out: what is shared then carries over to other software."""


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
    """

    problem: Problem
    fit: Fit
    calibration: Calibration
    groups: tuple[GroupErrors, ...]
    bounds: tuple[Key, ...]


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
    problem = build_problem(rows, load_votes(), lambda done, message: progress(0.05 * done, message))
    if not problem.measurements:
        raise PlannerError("no complete row measured a step time, so nothing can be fitted")
    fit = solve(
        Predictor(problem, options.workers),
        stiffness=options.stiffness,
        renewals=options.renewals,
        progress=lambda done, message: progress(0.05 + 0.45 * done, message),
    )
    without_model, without_family = _left_out(problem, fit, options, progress)
    calibration = calibration_of(problem, fit, options.name, data_digest(row_files(paths)))
    groups = group_errors(problem, fit, without_model, without_family)
    return FitReport(problem, fit, calibration, tuple(groups), tuple(at_bound(problem, fit)))


def _left_out(
    problem: Problem, fit: Fit, options: FitOptions, progress: Progress
) -> tuple[FloatArray | None, FloatArray | None]:
    if options.left_out == "none":
        return None, None
    found = []
    for start, folds, stiffness in (
        (0.5, model_folds(problem), options.stiffness),
        (0.75, family_folds(problem), ACROSS_SOURCES * options.stiffness),
    ):
        report = _from(progress, start, 0.25)
        found.append(
            left_out(
                problem,
                fit,
                folds,
                stiffness,
                method=options.left_out,
                workers=options.workers,
                progress=report,
            )
        )
    return found[0], found[1]


def _from(progress: Progress, start: float, share: float) -> Progress:
    return lambda done, message: progress(start + share * done, message)
