"""Constants from timings that closed forms price at once: robust bounded least squares with priors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Constant, Key

FloatArray = NDArray[np.float64]
Predict = Callable[[Mapping[Key, float]], FloatArray]
"""Seconds of every point with constants at some values."""

NOISE = 0.03
"""Log error at which the loss turns from square to linear (soft L1): repeats of one kernel scatter by 1 to 2 %."""

STIFFNESS = 0.003
"""Log error per point that is as dear as moving a constant by one spread of its prior."""

STEP = 0.02
"""Finite difference, in spreads of the prior: wide enough to see past the corners of whole waves."""

EVALUATIONS = 25
"""Most slopes that are taken."""

SETTLED = 1e-4
"""Relative fall of the cost, and relative move, at which the search ends."""


@dataclass(frozen=True)
class PointsFit:
    """The optimum.

    Args:
        positions: of the constants; values: the same as ``Constant.value`` gives them.
        responses: which point depends on which constant, shape (points, constants).
    """

    positions: FloatArray
    values: Mapping[Key, float]
    responses: NDArray[np.bool_]


def fit_points(
    constants: Sequence[Constant],
    predict: Predict,
    seconds: FloatArray,
    weights: FloatArray,
    *,
    stiffness: float = STIFFNESS,
    start: FloatArray | None = None,
) -> PointsFit:
    """The constants that minimise the sum of w rho((log predicted / measured)^2 / noise^2) and of n (stiffness / noise)^2 x^2,
    with n the summed weight, x the moves in spreads of the priors and rho(z) = 2 (sqrt(1 + z) - 1), within bounds.

    Args:
        constants: with priors, spreads and bounds.
        predict: called some hundred times.
        seconds, weights: of the points, shape (points,).
        start: positions to start from, the priors by default.
    """
    from scipy.optimize import least_squares

    centre = np.array([constant.centre for constant in constants])
    spread = np.array([constant.spread for constant in constants])
    limits = (np.array([constant.bounds for constant in constants]) - centre[:, None]) / spread[:, None]
    root, pull = np.sqrt(weights), stiffness / NOISE * np.sqrt(weights.sum())
    target = np.log(seconds)

    def residuals(moves: FloatArray) -> FloatArray:
        errors = np.log(predict(_values(constants, centre + moves * spread))) - target
        return np.concatenate((root * errors / NOISE, pull * moves))

    def loss(squares: FloatArray) -> FloatArray:
        return np.stack(_soft_l1(squares, len(target), weights))

    first = np.zeros(len(centre)) if start is None else (start - centre) / spread
    found = least_squares(
        residuals,
        np.clip(first, limits[:, 0] + 1e-6, limits[:, 1] - 1e-6),
        bounds=(limits[:, 0], limits[:, 1]),
        loss=loss,
        diff_step=STEP,
        ftol=SETTLED,
        xtol=SETTLED,
        max_nfev=EVALUATIONS,
    )
    positions = centre + found.x * spread
    return PointsFit(positions, _values(constants, positions), np.abs(found.jac[: len(target)]) > 1e-9)


def _values(constants: Sequence[Constant], positions: FloatArray) -> dict[Key, float]:
    return {
        constant.key: constant.value(float(position))
        for constant, position in zip(constants, positions, strict=True)
    }


def _soft_l1(
    squares: FloatArray, points: int, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Loss of the squared residuals with its first two derivatives: soft L1 of points, which carry their weight inside,
    plain squares of priors."""
    value, first, second = squares.copy(), np.ones_like(squares), np.zeros_like(squares)
    raised = 1.0 + squares[:points] / weights
    value[:points] = 2.0 * weights * (np.sqrt(raised) - 1.0)
    first[:points] = raised**-0.5
    second[:points] = -0.5 * raised**-1.5 / weights
    return value, first, second
