"""What the fit predicts without having seen it: one model, or one family of rows, left out at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from planner.calibration.fit.constants import chip_of
from planner.calibration.fit.predictor import batch_seconds
from planner.calibration.fit.problem import FloatArray, Measurement, Problem, Progress
from planner.calibration.fit.solve import Fit, best_of_linear

REACH = 1.5
"""Longest move from the full optimum, in spreads: as far as its slopes are trusted."""

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
    progress: Progress = lambda done, message: None,
) -> FloatArray:
    """Log seconds of every measurement by constants that were fitted without its fold, shape (measurements,).

    The optimum without a fold is found from the slopes at the full one (a Gauss-Newton step of the robust cost, within
    bounds); the left-out rows are then predicted by the model itself.
    """
    result = np.zeros(len(problem.measurements))
    for done, fold in enumerate(folds):
        progress(done / len(folds), "leaving out")
        weights = problem.weights.copy()
        weights[list(fold)] = 0.0
        position = best_of_linear(problem, fit.linear, weights, stiffness, REACH)
        result[list(fold)] = _predicted(problem, [problem.measurements[i] for i in fold], position)
    return result


def _predicted(problem: Problem, chosen: Sequence[Measurement], position: FloatArray) -> list[float]:
    needed = {batch for measurement in chosen for batch, _ in measurement.places}
    seconds: Mapping[int, FloatArray] = {
        batch: batch_seconds(problem.batches[batch], problem.constants, position) for batch in needed
    }
    found = []
    for measurement in chosen:
        readings = [float(seconds[batch][place]) for batch, place in measurement.places]
        found.append((min(readings) + max(readings)) / 2.0)
    return found
