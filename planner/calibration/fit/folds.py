"""What the fit predicts without having seen it: one model, or one family of rows, left out at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from planner.calibration.fit.constants import chip_of
from planner.calibration.fit.predictor import seconds_of
from planner.calibration.fit.problem import FloatArray, Problem, Progress
from planner.calibration.fit.processes import shared_out
from planner.calibration.fit.solve import Fit, Linear, best_of_linear, descend

Method = Literal["refit", "linear", "none"]

REACH = 1.5
"""Longest move at once from the full optimum, in spreads: as far as its slopes are trusted."""

MOVES = 3
"""Moves of a refit, each with a true prediction: the third changes macro errors by less than 0.1 points."""

UNMOVED = 0.02
"""Rows that a refit moves by less, in log seconds and to first order, are taken from the linear model, whose error is of
second order."""

FEWEST_MODELS = 3
"""A group of fewer models is split by sequence length and degrees as well, so that something of it stays."""


def model_folds(problem: Problem) -> list[list[int]]:
    """Measurements left out together: those of one model on one chip, whatever its depth and source; layouts in groups of
    one or two models."""
    models: dict[Hashable, set[Hashable]] = defaultdict(set)
    for measurement in problem.measurements:
        models[measurement.group].add(measurement.model)
    folds: dict[Hashable, list[int]] = defaultdict(list)
    for index, measurement in enumerate(problem.measurements):
        few = len(models[measurement.group]) < FEWEST_MODELS
        whole: Hashable = (chip_of(measurement.group[1]), measurement.model)
        key: Hashable = (measurement.group, measurement.shape) if few else whole
        folds[key].append(index)
    return list(folds.values())


def family_folds(problem: Problem) -> list[list[int]]:
    """Measurements of one family."""
    folds: dict[str, list[int]] = defaultdict(list)
    for index, measurement in enumerate(problem.measurements):
        folds[measurement.group[0]].append(index)
    return list(folds.values())


def left_out(
    problem: Problem,
    fit: Fit,
    folds: Sequence[Sequence[int]],
    stiffness: float,
    *,
    method: Method = "refit",
    workers: int | None = None,
    progress: Progress = lambda done, message: None,
) -> FloatArray:
    """Log seconds of every measurement by constants that were fitted without its fold, shape (measurements,).

    Args:
        method: ``linear`` finds the optimum without a fold from the slopes at the full one (a Gauss-Newton step of the
            robust cost, within bounds); ``refit`` goes on from there with true predictions of the rows that it moves,
            until the cost no longer falls. Both predict the left-out rows by the model itself.
        workers: processes, None for one per core.
    """
    result = np.zeros(len(problem.measurements))

    def without(index: int) -> FloatArray:
        return _without(problem, fit.linear, folds[index], stiffness, method)

    for done, (index, seconds) in enumerate(shared_out(without, len(folds), workers)):
        result[list(folds[index])] = seconds
        progress((done + 1) / len(folds), "leaving out")
    return result


def _without(
    problem: Problem, full: Linear, fold: Sequence[int], stiffness: float, method: Method
) -> FloatArray:
    """Log seconds of a fold's measurements by constants fitted to all others."""
    weights = problem.weights.copy()
    weights[list(fold)] = 0.0
    if method == "linear":
        return seconds_of(problem, fold, best_of_linear(problem, full, weights, stiffness, REACH))
    used = weights > 0

    def predict(position: FloatArray) -> FloatArray:
        seconds = full.at(position)
        moved = np.abs(full.slopes) @ np.abs(position - full.position) > UNMOVED
        rows = np.flatnonzero(moved & used)
        seconds[rows] = seconds_of(problem, rows.tolist(), position)
        return seconds

    found = descend(problem, predict, full, weights, stiffness, trust=REACH, moves=MOVES)
    return seconds_of(problem, fold, found.position)
