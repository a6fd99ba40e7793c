"""Robust bounded least squares with priors, by linear models of the predictions that are renewed now and then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from planner.calibration.fit.predictor import Predictor
from planner.calibration.fit.problem import FloatArray, Problem, Progress

NOISE = 0.05
"""Log error at which the loss turns from square to linear (soft L1)."""

STIFFNESS = 0.01
"""Log error per measurement that is as dear as moving a constant by one spread of its prior."""

TRUST = 0.7
"""Longest move of a constant between renewals of the linear model, in spreads of its prior."""


@dataclass(frozen=True)
class Linear:
    """A linear model: log seconds at a position, and slopes there."""

    position: FloatArray
    seconds: FloatArray
    slopes: FloatArray

    def at(self, position: FloatArray) -> FloatArray:
        """Log seconds that the model gives elsewhere."""
        return np.asarray(self.seconds + self.slopes @ (position - self.position))


@dataclass(frozen=True)
class Fit:
    """The optimum.

    Args:
        linear: the last linear model with its position at the optimum.
        prior_seconds: log seconds with every constant at its prior.
        cost: of the start and after each renewal.
    """

    linear: Linear
    prior_seconds: FloatArray
    cost: tuple[float, ...]


def centres(problem: Problem) -> FloatArray:
    """Positions of the priors."""
    return np.array([constant.centre for constant in problem.constants])


def spreads(problem: Problem) -> FloatArray:
    """Spreads of the priors."""
    return np.array([constant.rule.spread for constant in problem.constants])


def targets(problem: Problem) -> FloatArray:
    """Measured log seconds."""
    return np.log([measurement.seconds for measurement in problem.measurements])


def prior_weights(problem: Problem, weights: FloatArray, stiffness: float) -> FloatArray:
    """Weight of each constant's squared distance from its prior, in spreads: grows with the measurements that it touches,
    so that a prior is as stiff for a chip of ten rows as for one of a hundred."""
    touched = np.maximum(problem.depends().T @ weights, 1.0)
    return np.asarray((stiffness / NOISE) ** 2 * touched)


def cost_of(problem: Problem, weights: FloatArray, stiffness: float, position: FloatArray, seconds: FloatArray) -> float:
    """What is minimised: soft-L1 loss of the log errors and squared distances from the priors."""
    squares = ((seconds - targets(problem)) / NOISE) ** 2
    data = float(weights @ (2.0 * (np.sqrt(1.0 + squares) - 1.0)))
    away = (position - centres(problem)) / spreads(problem)
    return data + float(prior_weights(problem, weights, stiffness) @ away**2)


def solve(
    predictor: Predictor,
    *,
    stiffness: float = STIFFNESS,
    renewals: int = 4,
    progress: Progress = lambda done, message: None,
) -> Fit:
    """The constants that explain the measurements best without leaving their priors for nothing.

    Each renewal takes slopes by finite differences and moves along the linear model; corrections between renewals cost one
    prediction each (Broyden's rank-one updates).
    """
    problem = predictor.problem
    weights, position = problem.weights, centres(problem)
    prior_seconds: FloatArray | None = None
    costs: list[float] = []
    linear = Linear(position, np.zeros(0), np.zeros((0, 0)))
    for renewal in range(renewals):
        report = _part(progress, renewal / renewals, 1.0 / renewals)
        seconds, slopes = predictor.slopes(position, report)
        linear = Linear(position, seconds, slopes)
        prior_seconds = seconds if prior_seconds is None else prior_seconds
        costs.append(cost_of(problem, weights, stiffness, position, seconds))
        linear = _descend(predictor, linear, weights, stiffness, costs[-1])
        position = linear.position
    costs.append(cost_of(problem, weights, stiffness, position, linear.seconds))
    return Fit(linear, linear.seconds if prior_seconds is None else prior_seconds, tuple(costs))


def _descend(
    predictor: Predictor, linear: Linear, weights: FloatArray, stiffness: float, cost: float, moves: int = 4
) -> Linear:
    """Moves along the linear model with Broyden's updates, as long as the true cost falls."""
    problem, trust = predictor.problem, TRUST
    for _ in range(moves):
        goal = best_of_linear(problem, linear, weights, stiffness, trust)
        step = goal - linear.position
        if float(np.abs(step / spreads(problem)).max(initial=0.0)) < 1e-3:
            break
        seconds = predictor.seconds(goal)
        surprise = seconds - linear.at(goal)
        slopes = linear.slopes + np.outer(surprise, step) / float(step @ step) * (linear.slopes != 0)
        found = cost_of(problem, weights, stiffness, goal, seconds)
        if found < cost:
            linear, cost = Linear(goal, seconds, slopes), found
        else:
            linear, trust = Linear(linear.position, linear.seconds, slopes), trust / 3.0
    return linear


def best_of_linear(
    problem: Problem, linear: Linear, weights: FloatArray, stiffness: float, trust: float = np.inf
) -> FloatArray:
    """Minimum of the cost of a linear model within bounds and trust."""
    from scipy.optimize import least_squares

    spread, centre, target = spreads(problem), centres(problem), targets(problem)
    stiff = np.sqrt(prior_weights(problem, weights, stiffness))
    root, safe = np.sqrt(weights), np.maximum(weights, 1e-30)
    rows = len(target)

    def residuals(away: FloatArray) -> FloatArray:
        position = linear.position + away * spread
        data = root * (linear.at(position) - target) / NOISE
        return np.concatenate([data, stiff * (position - centre) / spread])

    def slopes(away: FloatArray) -> FloatArray:
        return np.concatenate([root[:, None] * linear.slopes * spread / NOISE, np.diag(stiff)])

    def loss(squares: FloatArray) -> FloatArray:
        """Soft L1 of the unweighted error for data, squares for priors: value and two derivatives."""
        z = squares[:rows] / safe
        result = np.stack([squares, np.ones_like(squares), np.zeros_like(squares)])
        result[0, :rows] = weights * 2.0 * (np.sqrt(1.0 + z) - 1.0)
        result[1, :rows] = (1.0 + z) ** -0.5
        result[2, :rows] = -0.5 * (1.0 + z) ** -1.5 / safe
        return result

    limits = np.array([constant.bounds for constant in problem.constants])
    low = np.maximum((limits[:, 0] - linear.position) / spread, -trust)
    high = np.minimum((limits[:, 1] - linear.position) / spread, trust)
    start = np.clip(np.zeros(len(spread)), low + 1e-9, high - 1e-9)
    found = least_squares(residuals, start, slopes, bounds=(low, high), loss=loss, max_nfev=60)
    return np.asarray(linear.position + found.x * spread)


def _part(progress: Progress, start: float, share: float) -> Callable[[float, str], None]:
    return lambda done, message: progress(start + share * done, message)
