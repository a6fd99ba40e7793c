"""What a fit found: constants with their evidence as a calibration file, errors by group."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.calibration.fit.constants import Key, members_of
from planner.calibration.fit.problem import FloatArray, Measurement, Problem
from planner.calibration.fit.solve import Fit, targets
from planner.hardware.calibration import CalibratedScope, Calibration, FittedConstant, ScopeKind
from planner.validation.runs.groups import SMALLEST_FOR_MEDIAN
from planner.validation.runs.statistics import ErrorSummary, mean_of, summarise

AT_BOUND = 0.01
"""A constant within this part of its range (of logarithms or log-odds) from a bound counts as at the bound."""


LEAST_RESPONSE = 0.002
"""A constant whose spread moves no measurement by this part was not fitted: it stays a prior."""


@dataclass(frozen=True)
class GroupErrors:
    """Errors of one group: with priors only, fitted, and with its model or family left out.

    Args:
        model: only for groups by model: name of one of its rows.
    """

    family: str
    accelerator: str
    rows: int
    votes: int
    priors: ErrorSummary
    in_sample: ErrorSummary
    model_out: ErrorSummary | None
    family_out: ErrorSummary | None
    model: str | None = None


Kind = Literal["all", "dense", "experts"]


def group_errors(
    problem: Problem,
    fit: Fit,
    model_out: FloatArray | None,
    family_out: FloatArray | None,
    kind: Kind = "all",
) -> list[GroupErrors]:
    """One entry per family and accelerator, in alphabetical order; rows that share a vote give one error, the one of
    median size.

    Args:
        kind: all rows; those of dense models; those with experts, by model as well.
    """
    members: dict[tuple[Hashable, ...], list[int]] = defaultdict(list)
    for index, measurement in enumerate(problem.measurements):
        experts = bool(problem.batches and problem.batches[measurement.places[0][0]].job.model.experts)
        if kind == "all" or experts == (kind == "experts"):
            model = (measurement.model,) if kind == "experts" else ()
            members[(*measurement.group, *model)].append(index)
    found = (
        _group(problem, fit, rows, model_out, family_out, kind)
        for _, rows in sorted(members.items(), key=str)
    )
    return list(found)


def _group(
    problem: Problem,
    fit: Fit,
    rows: Sequence[int],
    model_out: FloatArray | None,
    family_out: FloatArray | None,
    kind: Kind,
) -> GroupErrors:
    measured = [problem.measurements[i] for i in rows]

    def errors(log_seconds: FloatArray) -> ErrorSummary:
        return _summary(measured, np.exp((log_seconds - targets(problem))[rows]) - 1)

    return GroupErrors(
        *measured[0].group,
        rows=len(rows),
        votes=len({measurement.vote for measurement in measured}),
        priors=errors(fit.prior_seconds),
        in_sample=errors(fit.linear.seconds),
        model_out=None if model_out is None else errors(model_out),
        family_out=None if family_out is None else errors(family_out),
        model=measured[0].id if kind == "experts" else None,
    )


def _summary(measured: Sequence[Measurement], errors: FloatArray) -> ErrorSummary:
    by_vote: dict[Hashable, list[float]] = defaultdict(list)
    for measurement, error in zip(measured, errors, strict=True):
        by_vote[measurement.vote].append(float(error))
    found = summarise([sorted(values, key=abs)[(len(values) - 1) // 2] for values in by_vote.values()])
    if found is None:
        raise ValueError("a group without rows")
    return found


def calibration_of(problem: Problem, fit: Fit, name: str, data_sha256: str) -> Calibration:
    """The fitted constants as a calibration file has them."""
    depends = problem.depends()
    scopes: dict[ScopeKind, dict[str, CalibratedScope]] = {"accelerator": {}, "network": {}, "framework": {}}
    constants: dict[tuple[ScopeKind, str], dict[str, FittedConstant]] = defaultdict(dict)
    families: dict[tuple[ScopeKind, str], set[str]] = defaultdict(set)
    keys: dict[tuple[ScopeKind, str], Key] = {}
    for index, constant in enumerate(problem.constants):
        response = float(np.abs(fit.linear.slopes[:, index]).max(initial=0.0)) * constant.spread
        if response < LEAST_RESPONSE:
            continue
        touched = np.flatnonzero(depends[:, index])
        groups = {problem.measurements[i].group for i in touched}
        place = (constant.key.kind, constant.key.scope)
        keys[place] = constant.key
        families[place] |= {family for family, _ in groups}
        constants[place][constant.key.name] = FittedConstant(
            value=_rounded(constant.value(float(fit.linear.position[index]))),
            prior=_rounded(constant.prior),
            spread=constant.rule.spread,
            lower=constant.rule.lower,
            upper=constant.rule.upper,
            rows=len(touched),
            groups=len(groups),
        )
    for place, found in sorted(constants.items()):
        scopes[place[0]][place[1]] = CalibratedScope(
            members=members_of(keys[place]),
            families=tuple(sorted(families[place])),
            constants=dict(sorted(found.items())),
        )
    return Calibration(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        data_sha256=data_sha256,
        rows=len(problem.measurements),
        accelerators=scopes["accelerator"],
        networks=scopes["network"],
        frameworks=scopes["framework"],
    )


def at_bound(problem: Problem, fit: Fit) -> list[Key]:
    """Constants that the data push against a physical bound: the model lacks something there."""
    found = []
    for constant, position in zip(problem.constants, fit.linear.position, strict=True):
        low, high = constant.bounds
        if min(float(position) - low, high - float(position)) < AT_BOUND * (high - low):
            found.append(constant.key)
    return found


@dataclass(frozen=True)
class MacroErrors:
    """Means over the groups of three votes or more of their median (or mean) errors, one vote per group."""

    priors: float | None
    in_sample: float | None
    model_out: float | None
    family_out: float | None


def macro_errors(
    groups: Sequence[GroupErrors],
    figure: Literal["median_ape", "mean_ape"] = "median_ape",
    smallest: int = SMALLEST_FOR_MEDIAN,
) -> MacroErrors:
    """The four macro figures.

    Args:
        smallest: votes that a group needs to count.
    """

    def mean(name: str) -> float | None:
        found = [getattr(group, name) for group in groups if group.votes >= smallest]
        return mean_of([None if errors is None else getattr(errors, figure) for errors in found])

    return MacroErrors(mean("priors"), mean("in_sample"), mean("model_out"), mean("family_out"))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
