"""How far predictions are off that the fit has not seen: spreads by maximum likelihood.

Every measurement was predicted twice by constants that had not seen it: without its model and without its family. Its log
error has the variance that ``planner.costs.uncertainty`` states, with whatever was still fitted once it was left out. Errors
have long tails, so the likelihood is that of Student's t with four degrees of freedom (Lange, Little and Taylor 1989);
spreads are then widened to those of the normal distribution with the same 80 % interval. Sources of which no row was fitted
join in: each row counts the mean likelihood of what it may have been.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.constants import Key
from planner.calibration.fit.problem import FloatArray, Problem
from planner.calibration.fit.solve import targets
from planner.costs.uncertainty import NORMAL_80, Support, loads, log_spread, ratio_spread
from planner.hardware.calibration import plateau_name
from planner.hardware.spreads import Spreads
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray

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
class Unfitted:
    """Errors of sources of which nothing was fitted, because every row leaves settings open.

    Args:
        errors: log of predicted over measured of each reading, those of a row one after the other, shape (readings,).
        counted: what each spread counts in the variance of each reading, shape (readings,) by name.
        starts: first reading of each row, shape (rows,).
        families: of each row.
    """

    errors: FloatArray
    counted: Mapping[str, FloatArray]
    starts: IntArray
    families: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """What one kind of errors says about the fitted spreads.

    Args:
        errors: of each reading; design: what each spread of ``FITTED`` counts in its variance, shape (readings, spreads);
            rest: variance of the others; starts: first reading of each row; votes: of each row.
    """

    errors: FloatArray
    design: FloatArray
    rest: FloatArray
    starts: IntArray
    votes: FloatArray

    def cost(self, variances: FloatArray) -> float:
        """Negative log likelihood at squared spreads; a row's is the mean over its readings."""
        each = surprise(self.errors, self.design @ variances + self.rest)
        readings = np.diff(self.starts, append=len(each))
        return float(self.votes @ (np.log(readings) - np.logaddexp.reduceat(-each, self.starts)))


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
    ordered = tuple(supports[row] for row in range(len(problem.measurements)))
    return LeftOut(predicted - targets(problem), ordered, shares, counts(ordered, shares))


def counts(supports: Sequence[Support], shares: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """What each spread counts in the variance of each prediction, shape (predictions,) by name."""
    result = {name: np.zeros(len(supports)) for name in Spreads.model_fields}
    for row, support in enumerate(supports):
        for name, load in loads(support, {part: share[row] for part, share in shares.items()}).items():
            result[name][row] = load
    return result


def _support(problem: Problem, row: int, known: Flags, needs: Flags) -> Support:
    """What other measurements tell about the constants that one needs."""
    job = problem.batches[problem.measurements[row].places[0][0]].job
    return support_by(job, [(problem.constants[i].key, bool(known[i])) for i in np.flatnonzero(needs)])


def support_by(job: Job, keys: Sequence[tuple[Key, bool]]) -> Support:
    """What supports a job, by the constants that it needs and whether each was fitted."""
    matmul = plateau_name(job.training.precision)
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


def fit_spreads(
    problem: Problem,
    found: Sequence[LeftOut],
    unfitted: Unfitted | None = None,
    *,
    without: str | None = None,
) -> Spreads:
    """The likeliest spreads of left-out errors and of those of unfitted sources, each family one vote.

    Args:
        without: a family whose errors are not used.
    """
    from scipy.optimize import minimize

    default = Spreads()
    centre = np.log([getattr(default, name) for name in FITTED])
    samples = _samples(problem, found, unfitted, without)

    def cost(position: FloatArray) -> float:
        prior = float(np.sum((position - centre) ** 2)) / (2.0 * PRIOR_SD**2)
        return prior + sum(sample.cost(np.exp(2.0 * position)) for sample in samples)

    bounds = [(value - np.log(FURTHEST), value + np.log(FURTHEST)) for value in centre]
    best = minimize(cost, centre, method="L-BFGS-B", bounds=bounds).x
    return default.model_copy(
        update={name: float(f"{value:.3g}") for name, value in zip(FITTED, np.exp(best), strict=True)}
    )


def _samples(
    problem: Problem, found: Sequence[LeftOut], unfitted: Unfitted | None, without: str | None
) -> list[_Sample]:
    families = [measurement.group[0] for measurement in problem.measurements]
    votes = _family_votes(families, problem.weights, without)
    rows = np.arange(len(families))
    samples = [_sample(item.errors, item.counted, rows, votes) for item in found]
    if unfitted is not None:
        votes = _family_votes(unfitted.families, np.ones(len(unfitted.families)), without)
        samples.append(_sample(unfitted.errors, unfitted.counted, unfitted.starts, votes))
    return samples


def _sample(
    errors: FloatArray, counted: Mapping[str, FloatArray], starts: IntArray, votes: FloatArray
) -> _Sample:
    design = np.stack([counted[name] for name in FITTED], axis=1)
    rest = {name: load for name, load in counted.items() if name not in FITTED}
    return _Sample(errors, design, np.asarray(log_spread(Spreads(), rest) ** 2), starts, votes)


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


def _family_votes(families: Sequence[str], weights: FloatArray, without: str | None) -> FloatArray:
    """Votes of each row; none for those of the family ``without``."""
    sums: dict[str, float] = defaultdict(float)
    for name, weight in zip(families, weights, strict=True):
        sums[name] += float(weight)
    return np.array(
        [
            VOTES * weight / sums[name] if name != without else 0.0
            for name, weight in zip(families, weights, strict=True)
        ]
    )
