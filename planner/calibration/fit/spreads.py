"""How far left-out predictions are off: spreads by maximum likelihood, and the coverage of the intervals that they give.

Every measurement was predicted twice by constants that had not seen it: without its model and without its family. Its log
error has the variance that ``planner.costs.uncertainty`` states, with whatever was still fitted once it was left out. Errors
have long tails, so the likelihood is that of Student's t with four degrees of freedom (Lange, Little and Taylor 1989);
spreads are then widened to those of the normal distribution with the same 80 % interval.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.problem import FloatArray, Problem
from planner.calibration.fit.solve import targets
from planner.costs.uncertainty import NORMAL_80, Support, loads, log_spread, ratio_spread
from planner.hardware.calibration import plateau_name
from planner.hardware.spreads import Spreads

Flags = NDArray[np.bool_]

FREEDOM = 4.0
"""Degrees of freedom of the errors' distribution."""

T_80 = 1.5332
"""Its standard deviations on either side of an 80 % interval (quantile 0.9)."""

FITTED = (
    "compute",
    "compute_prior",
    "communication",
    "communication_prior",
    "host",
    "host_prior",
    "framework_prior",
    "experts",
    "source",
)
"""Spreads that left-out errors tell; the others keep the widths of their priors."""

PRIOR_SD = 0.7
"""Of the logarithm of a spread, around its width without data."""

VOTES = 20.0
"""Measurements that a family counts as, however many it has: coverage is a mean over families."""

FURTHEST = 4.0
"""Factor by which data may move a spread from its width without data: what rests on priors stays wider than what does not."""

SMALLEST = 0.005
"""Smallest noise between two layouts of one job."""


@dataclass(frozen=True)
class LeftOut:
    """Errors of one kind of leaving out.

    Args:
        errors: log of predicted over measured, shape (measurements,).
        supports: what was still fitted for each; shares: of each part in the step, shape (measurements,).
        counted: what each spread counts in the variance of each, shape (measurements,) by name.
    """

    errors: FloatArray
    supports: tuple[Support, ...]
    shares: Mapping[str, FloatArray]
    counted: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Coverage:
    """Share of measurements inside their 80 % interval, and median width (upper over lower end, less one)."""

    inside: float
    width: float


def left_out_errors(
    problem: Problem,
    predicted: FloatArray,
    folds: Sequence[Sequence[int]],
    shares: Mapping[str, FloatArray],
) -> LeftOut:
    """Errors with what supported each prediction once its fold was left out.

    Args:
        predicted: log seconds. shares: of each part in the step, shape (measurements,).
    """
    depends = problem.depends()
    supports: dict[int, Support] = {}
    for fold in folds:
        out = set(fold)
        known = np.delete(depends, list(fold), axis=0).any(axis=0)
        families = {m.group[0] for row, m in enumerate(problem.measurements) if row not in out}
        for row in fold:
            source = problem.measurements[row].group[0] in families
            supports[row] = replace(_support(problem, row, depends[row] & known, depends[row]), source=source)
    counted = {name: np.zeros(len(problem.measurements)) for name in Spreads.model_fields}
    for row, support in supports.items():
        for name, load in loads(support, {part: share[row] for part, share in shares.items()}).items():
            counted[name][row] = load
    ordered = tuple(supports[row] for row in range(len(problem.measurements)))
    return LeftOut(predicted - targets(problem), ordered, shares, counted)


def _support(problem: Problem, row: int, known: Flags, needs: Flags) -> Support:
    """What other measurements tell about the constants that one needs."""
    job = problem.batches[problem.measurements[row].places[0][0]].job
    precision = job.training.precision
    matmul = plateau_name(precision)
    keys = [(problem.constants[i].key, bool(known[i])) for i in np.flatnonzero(needs)]
    return Support(
        kernels=any(fitted for key, fitted in keys if key.name == matmul),
        links=all(fitted for key, fitted in keys if key.kind == "network"),
        framework=any(fitted for key, fitted in keys if key.kind == "framework"),
        experts=bool(job.model.experts),
    )


def surprise(errors: FloatArray, variance: FloatArray) -> FloatArray:
    """Negative log likelihood of errors by Student's t, of the variance of the normal distribution with the same 80 %
    interval."""
    squares = variance * (NORMAL_80 / T_80) ** 2
    return np.asarray(np.log(squares) / 2.0 + (FREEDOM + 1.0) / 2.0 * np.log1p(errors**2 / squares / FREEDOM))


def fit_spreads(problem: Problem, found: Sequence[LeftOut], without: str | None = None) -> Spreads:
    """The likeliest spreads of left-out errors, each family one vote.

    Args:
        without: a family whose errors are not used.
    """
    from scipy.optimize import minimize

    weights = _family_votes(problem) * np.array([m.group[0] != without for m in problem.measurements])
    default = Spreads()
    centre = np.log([getattr(default, name) for name in FITTED])
    fixed = [_fixed_variance(item, default) for item in found]
    designs = [np.stack([item.counted[name] for name in FITTED], axis=1) for item in found]

    def cost(position: FloatArray) -> float:
        total = float(np.sum((position - centre) ** 2)) / (2.0 * PRIOR_SD**2)
        for item, design, rest in zip(found, designs, fixed, strict=True):
            variance = (design @ np.exp(2.0 * position) + rest) * (NORMAL_80 / T_80) ** 2
            loss = np.log(variance) / 2.0 + (FREEDOM + 1.0) / 2.0 * np.log1p(
                item.errors**2 / variance / FREEDOM
            )
            total += float(weights @ loss)
        return total

    bounds = [(value - np.log(FURTHEST), value + np.log(FURTHEST)) for value in centre]
    best = minimize(cost, centre, method="L-BFGS-B", bounds=bounds).x
    return default.model_copy(
        update={name: float(f"{value:.3g}") for name, value in zip(FITTED, np.exp(best), strict=True)}
    )


def fit_layout_spread(problem: Problem, found: LeftOut, spreads: Spreads) -> Spreads:
    """With the likeliest spread between two layouts of one job, each set of layouts one vote: what their ratio misses
    beyond the parts of which they have different shares."""
    from scipy.optimize import minimize_scalar

    errors, variance, votes = _pairs(problem, found, spreads)
    if not len(errors):
        return spreads
    best = minimize_scalar(
        lambda log: float(votes @ surprise(errors, variance + 2.0 * np.exp(2.0 * log))),
        bounds=(np.log(SMALLEST), 0.0),
        method="bounded",
    ).x
    return spreads.model_copy(update={"layout": float(f"{np.exp(best):.3g}")})


def _pairs(problem: Problem, found: LeftOut, spreads: Spreads) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of every pair of layouts of a set: error of their log ratio, its variance by their shares, vote."""
    sets: dict[Hashable, dict[Hashable, int]] = defaultdict(dict)
    for row, measurement in enumerate(problem.measurements):
        if measurement.peers is not None:
            sets[measurement.peers].setdefault(measurement.places[0], row)
    result: list[tuple[float, float, float]] = []
    for members in sets.values():
        pairs = list(itertools.combinations(members.values(), 2))
        for one, other in pairs:
            ours, theirs = ({p: float(s[row]) for p, s in found.shares.items()} for row in (one, other))
            spread = ratio_spread(
                found.supports[one], spreads.model_copy(update={"layout": 0.0}), ours, theirs
            )
            result.append((found.errors[one] - found.errors[other], spread**2, 1.0 / len(pairs)))
    errors, variances, votes = np.array(result).reshape(-1, 3).T
    return errors, variances, votes


def _fixed_variance(item: LeftOut, spreads: Spreads) -> FloatArray:
    rest = {name: load for name, load in item.counted.items() if name not in FITTED}
    return np.asarray(log_spread(spreads, rest) ** 2)


def _family_votes(problem: Problem) -> FloatArray:
    families = [measurement.group[0] for measurement in problem.measurements]
    sums = {
        name: sum(w for w, f in zip(problem.weights, families, strict=True) if f == name)
        for name in set(families)
    }
    return np.array([VOTES * w / sums[f] for w, f in zip(problem.weights, families, strict=True)])


def coverage(problem: Problem, item: LeftOut, spreads: Spreads) -> dict[str, Coverage]:
    """By family: how much of it the 80 % intervals of these spreads hold."""
    widths = log_spread(spreads, item.counted) * NORMAL_80
    families = np.array([measurement.group[0] for measurement in problem.measurements])
    result = {}
    for name in sorted(set(families.tolist())):
        mine = families == name
        inside = np.abs(item.errors[mine]) <= widths[mine]
        votes = problem.weights[mine]
        result[name] = Coverage(
            float(votes @ inside / votes.sum()), float(np.median(np.exp(2.0 * widths[mine]) - 1.0))
        )
    return result


def crossed_coverage(problem: Problem, found: Sequence[LeftOut]) -> list[dict[str, Coverage]]:
    """``coverage`` of each kind of leaving out, every family by spreads that were fitted without its errors."""
    result: list[dict[str, Coverage]] = [{} for _ in found]
    for name in sorted({measurement.group[0] for measurement in problem.measurements}):
        spreads = fit_spreads(problem, found, without=name)
        for item, inside in zip(found, result, strict=True):
            inside[name] = coverage(problem, item, spreads)[name]
    return result
