"""Small problems for the tests of the fit: published rows of ``tests/data/runs``, times replaced by the model's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Key
from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import Problem, build_problem
from planner.calibration.fit.solve import centres
from planner.validation.runs.reading import read_rows
from planner.validation.runs.votes import load_votes

RUNS = Path(__file__).parents[2] / "data" / "runs"


def published(like: str = "") -> Problem:
    """The problem of the committed rows whose ids contain a text."""
    rows = [row for row in read_rows([RUNS]) if like in row.id]
    return build_problem(rows, load_votes())


def positions(problem: Problem, truth: dict[Key, float]) -> NDArray[np.float64]:
    """Priors, but for the constants that ``truth`` names."""
    found = centres(problem)
    for index, constant in enumerate(problem.constants):
        if constant.key in truth:
            found[index] = constant.position(truth[constant.key])
    return found


def synthetic(problem: Problem, truth: dict[Key, float]) -> Problem:
    """The same rows, measured by a world in which the constants are ``truth``."""
    seconds = np.exp(Predictor(problem, workers=1).seconds(positions(problem, truth)))
    measured = tuple(replace(m, seconds=float(s)) for m, s in zip(problem.measurements, seconds, strict=True))
    return replace(problem, measurements=measured)
