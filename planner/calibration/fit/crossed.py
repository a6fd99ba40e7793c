"""Everything that a fit says about rows that it has not seen: errors, spreads, and whether their intervals hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.calibration.fit.coverage import Coverage, crossed_coverage
from planner.calibration.fit.folds import Method, family_folds, left_out, model_folds
from planner.calibration.fit.predictor import Predictor, batch_shares
from planner.calibration.fit.problem import FloatArray, Problem, Progress
from planner.calibration.fit.result import GroupErrors, group_errors, macro_errors
from planner.calibration.fit.solve import Fit, Linear, descend
from planner.calibration.fit.spreads import (
    LeftOut,
    Unfitted,
    fit_layout_spread,
    fit_spreads,
    left_out_errors,
)
from planner.costs.uncertainty import NORMAL_80, PARTS, log_spread
from planner.hardware.spreads import Spreads

STIFFER = (1.0, 3.0, 10.0)
"""How much stiffer priors may be where whole models or families are left out."""


@dataclass(frozen=True)
class Tried:
    """Macro error (mean of the groups' medians) of left-out rows, by linear refits, at one stiffness."""

    stiffness: float
    model_out: float
    family_out: float


@dataclass(frozen=True)
class Crossed:
    """Left-out predictions.

    Args:
        model_out, family_out: log seconds, shape (measurements,); ``linear``: macro errors of the cheap way (model, family).
        stiffness: of priors with a model, and with a family left out: the best of ``tried``.
        spreads: fitted to all left-out errors and those of unfitted sources.
        coverage: by family, of model and of family left out, with spreads that were fitted without the family.
        width: median over measurements with a model left out.
    """

    method: Method
    model_out: FloatArray
    family_out: FloatArray
    stiffness: tuple[float, float]
    tried: tuple[Tried, ...]
    spreads: Spreads
    coverage: tuple[Mapping[str, Coverage], Mapping[str, Coverage]]
    width: float

    @property
    def covered(self) -> tuple[float, float]:
        """Share of rows inside their interval, each family one vote: model out, family out."""
        first, second = (float(np.mean([c.inside for c in found.values()])) for found in self.coverage)
        return first, second


def cross_validate(
    problem: Problem,
    fit: Fit,
    stiffness: float,
    method: Method,
    *,
    unfitted: Unfitted | None = None,
    workers: int | None = None,
    progress: Progress = lambda done, message: None,
) -> Crossed:
    """Every measurement predicted without its model and without its family, and what follows for intervals.

    Args:
        stiffness: of the full fit; the grid is in multiples of it.
        unfitted: errors of sources that are not in the problem, for the spreads.
        workers: processes, None for one per core.
    """
    folds = (model_folds(problem), family_folds(problem))
    linear = [
        [_out(problem, fit, kind, stiffness * factor, "linear", workers) for factor in STIFFER]
        for kind in folds
    ]
    macros = [[_macro(problem, fit, found) for found in kind] for kind in linear]
    best = [int(np.argmin(kind)) for kind in macros]
    tried = tuple(
        Tried(stiffness * factor, *errors) for factor, *errors in zip(STIFFER, *macros, strict=True)
    )
    progress(0.2, "leaving out")
    chosen = [linear[kind][place] for kind, place in enumerate(best)]
    if method == "refit":
        for kind, place in enumerate(best):
            stiffer = stiffness * STIFFER[place]
            start = fit if STIFFER[place] == 1.0 else _stiffened(problem, fit, stiffer, workers)
            chosen[kind] = left_out(
                problem,
                start,
                folds[kind],
                stiffer,
                workers=workers,
                progress=_from(progress, 0.2 + 0.4 * kind, 0.4),
            )
    found = _errors(problem, fit, chosen, folds)
    spreads = fit_layout_spread(problem, found[0], fit_spreads(problem, found, unfitted))
    covered = crossed_coverage(problem, found, unfitted)
    return Crossed(
        method,
        chosen[0],
        chosen[1],
        (stiffness * STIFFER[best[0]], stiffness * STIFFER[best[1]]),
        tried,
        spreads,
        (covered[0], covered[1]),
        float(np.median(np.exp(2.0 * NORMAL_80 * log_spread(spreads, found[0].counted)) - 1.0)),
    )


def _stiffened(problem: Problem, fit: Fit, stiffness: float, workers: int | None) -> Fit:
    """The optimum of all measurements under stiffer priors, from which folds then move little."""
    predictor = Predictor(problem, workers)
    found = descend(problem, predictor.seconds, fit.linear, problem.weights, stiffness)
    return replace(fit, linear=Linear(found.position, *predictor.slopes(found.position)))


def _out(
    problem: Problem,
    fit: Fit,
    folds: Sequence[Sequence[int]],
    stiffness: float,
    method: Method,
    workers: int | None,
) -> FloatArray:
    return left_out(problem, fit, folds, stiffness, method=method, workers=workers)


def _macro(problem: Problem, fit: Fit, predicted: FloatArray) -> float:
    groups: list[GroupErrors] = group_errors(problem, fit, predicted, None)
    return macro_errors(groups).model_out or 0.0


def _errors(
    problem: Problem, fit: Fit, chosen: Sequence[FloatArray], folds: Sequence[Sequence[Sequence[int]]]
) -> list[LeftOut]:
    shares = measured_shares(problem, fit)
    return [
        left_out_errors(problem, predicted, kind, shares)
        for predicted, kind in zip(chosen, folds, strict=True)
    ]


def measured_shares(problem: Problem, fit: Fit) -> dict[str, FloatArray]:
    """Share of each part in every measurement's predicted step, shape (measurements,); of its first reading."""
    by_batch = [batch_shares(batch, problem.constants, fit.linear.position) for batch in problem.batches]
    firsts = [measurement.places[0] for measurement in problem.measurements]
    return {part: np.array([by_batch[batch][part][place] for batch, place in firsts]) for part in PARTS}


def _from(progress: Progress, start: float, share: float) -> Progress:
    return lambda done, message: progress(start + share * done, message)
