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

ROUNDS = 25
"""Most rounds of reweighting."""

ACTIVE_SETS = 50
"""Most sets of constants at their bounds that a bounded problem tries."""

TRUST = 0.7
"""Longest move of a constant between renewals of the linear model, in spreads of its prior."""

SETTLED = 1e-3
"""Moves of all constants below it, in spreads, end a search."""


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
    return np.array([constant.spread for constant in problem.constants])


def targets(problem: Problem) -> FloatArray:
    """Measured log seconds."""
    return np.log([measurement.seconds for measurement in problem.measurements])


def prior_weights(problem: Problem, weights: FloatArray, stiffness: float) -> FloatArray:
    """Weight of each constant's squared distance from its prior, in spreads: grows with the measurements that it touches,
    so that a prior is as stiff for a chip of ten rows as for one of a hundred."""
    touched = np.maximum(problem.depends().T @ weights, 1.0)
    return np.asarray((stiffness / NOISE) ** 2 * touched)


def cost_of(
    problem: Problem, weights: FloatArray, stiffness: float, position: FloatArray, seconds: FloatArray
) -> float:
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
        linear = descend(problem, predictor.seconds, linear, weights, stiffness)
        position = linear.position
    costs.append(cost_of(problem, weights, stiffness, position, linear.seconds))
    return Fit(linear, linear.seconds if prior_seconds is None else prior_seconds, tuple(costs))


def descend(
    problem: Problem,
    predict: Callable[[FloatArray], FloatArray],
    linear: Linear,
    weights: FloatArray,
    stiffness: float,
    *,
    trust: float = TRUST,
    moves: int = 4,
) -> Linear:
    """Moves along the linear model with Broyden's updates, as long as the true cost falls.

    Args:
        predict: log seconds at a position.
        trust: longest move at once, in spreads.
    """
    cost = cost_of(problem, weights, stiffness, linear.position, linear.seconds)
    for _ in range(moves):
        goal = best_of_linear(problem, linear, weights, stiffness, trust)
        step = goal - linear.position
        if float(np.abs(step / spreads(problem)).max(initial=0.0)) < SETTLED:
            break
        seconds = predict(goal)
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
    """Minimum of the cost of a linear model within bounds and trust.

    Iteratively reweighted least squares (Holland and Welsch 1977): the soft-L1 loss of an error e is the square loss with
    the weight 1 / sqrt(1 + e^2); every round is a bounded linear problem in the constants alone.
    """
    spread = spreads(problem)
    slopes = linear.slopes * spread / NOISE
    error = (linear.seconds - targets(problem)) / NOISE
    stiff = prior_weights(problem, weights, stiffness)
    away = (linear.position - centres(problem)) / spread
    limits = np.array([constant.bounds for constant in problem.constants])
    low = np.minimum(np.maximum((limits[:, 0] - linear.position) / spread, -trust), -1e-9)
    high = np.maximum(np.minimum((limits[:, 1] - linear.position) / spread, trust), 1e-9)
    move = np.zeros(len(spread))
    for _ in range(ROUNDS):
        current = weights / np.sqrt(1.0 + (error + slopes @ move) ** 2)
        hessian = (slopes.T * current) @ slopes + np.diag(stiff)
        gradient = (slopes.T * current) @ error + stiff * away
        found = bounded_minimum(hessian, gradient, low, high, move)
        settled = float(np.abs(found - move).max(initial=0.0)) < 1e-3
        move = found
        if settled:
            break
    return np.asarray(np.clip(linear.position + move * spread, limits[:, 0], limits[:, 1]))


def bounded_minimum(
    hessian: FloatArray, gradient: FloatArray, low: FloatArray, high: FloatArray, start: FloatArray
) -> FloatArray:
    """Minimum of x H x / 2 + g x between bounds, H positive definite.

    Projected Newton steps (Bertsekas 1982): variables that press against a bound stay there, the others go to their joint
    minimum, as far as the bounds allow.
    """
    found = np.clip(start, low, high)
    for _ in range(ACTIVE_SETS):
        slope = hessian @ found + gradient
        held = ((found <= low) & (slope > 0)) | ((found >= high) & (slope < 0))
        free = np.flatnonzero(~held)
        moved = found.copy()
        moved[free] -= np.linalg.solve(hessian[np.ix_(free, free)], slope[free])
        moved = np.clip(moved, low, high)
        if float(np.abs(moved - found).max(initial=0.0)) < 1e-9:
            break
        found = moved
    return np.asarray(found)


def _part(progress: Progress, start: float, share: float) -> Callable[[float, str], None]:
    return lambda done, message: progress(start + share * done, message)
