"""What a fit found: constants with their evidence as a calibration file, errors by group, JSON."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from planner.calibration.fit.constants import Key, members_of
from planner.calibration.fit.problem import FloatArray, Measurement, Problem
from planner.calibration.fit.solve import Fit, targets
from planner.hardware.calibration import CalibratedScope, Calibration, FittedConstant, ScopeKind
from planner.validation.runs.statistics import ErrorSummary, summarise

AT_BOUND = 0.01
"""A constant within this part of its range (of logarithms or log-odds) from a bound counts as at the bound."""


LEAST_RESPONSE = 0.002
"""A constant whose spread moves no measurement by this part was not fitted: it stays a prior."""


@dataclass(frozen=True)
class GroupErrors:
    """Errors of one family on one accelerator: with priors only, fitted, and with its model or family left out."""

    family: str
    accelerator: str
    rows: int
    votes: int
    priors: ErrorSummary
    in_sample: ErrorSummary
    model_out: ErrorSummary | None
    family_out: ErrorSummary | None


def group_errors(
    problem: Problem, fit: Fit, model_out: FloatArray | None, family_out: FloatArray | None
) -> list[GroupErrors]:
    """One entry per group, in alphabetical order; rows that share a vote give one error, the one of median size."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, measurement in enumerate(problem.measurements):
        members[measurement.group].append(index)
    result = []
    for group, rows in sorted(members.items()):
        measured = [problem.measurements[i] for i in rows]
        found = [
            None
            if log_seconds is None
            else _summary(measured, np.exp((log_seconds - targets(problem))[rows]) - 1)
            for log_seconds in (fit.prior_seconds, fit.linear.seconds, model_out, family_out)
        ]
        priors, in_sample, without_model, without_family = found
        if priors is None or in_sample is None:
            continue
        votes = len({measurement.vote for measurement in measured})
        result.append(GroupErrors(*group, len(rows), votes, priors, in_sample, without_model, without_family))
    return result


def _summary(measured: Sequence[Measurement], errors: FloatArray) -> ErrorSummary | None:
    by_vote: dict[Hashable, list[float]] = defaultdict(list)
    for measurement, error in zip(measured, errors, strict=True):
        by_vote[measurement.vote].append(float(error))
    return summarise([sorted(values, key=abs)[(len(values) - 1) // 2] for values in by_vote.values()])


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


def to_json(
    calibration: Calibration, groups: Sequence[GroupErrors], bounds: Sequence[Key], seconds: float
) -> Mapping[str, Any]:
    """Plain data; errors are fractions."""
    return {
        "calibration": calibration.model_dump(mode="json"),
        "groups": [asdict(group) for group in groups],
        "macro": asdict(macro_errors(groups)),
        "at_bound": [str(key) for key in bounds],
        "seconds": seconds,
    }


@dataclass(frozen=True)
class MacroErrors:
    """Means over the groups of their median errors, one vote per group."""

    priors: float
    in_sample: float
    model_out: float | None
    family_out: float | None


def macro_errors(groups: Sequence[GroupErrors]) -> MacroErrors:
    """The four macro figures."""

    def mean(values: Sequence[ErrorSummary | None]) -> float | None:
        found = [value.median_ape for value in values if value is not None]
        return float(np.mean(found)) if found else None

    return MacroErrors(
        mean([group.priors for group in groups]) or 0.0,
        mean([group.in_sample for group in groups]) or 0.0,
        mean([group.model_out for group in groups]),
        mean([group.family_out for group in groups]),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
