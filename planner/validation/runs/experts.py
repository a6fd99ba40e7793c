"""Step time of runs with experts: absolute, within a group, in order, and over pairs that change one thing."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from planner.validation.runs.hard_pairs import HardPair, PairScore, pair_scores
from planner.validation.runs.outcome import Outcome
from planner.validation.runs.statistics import mean_of

GAP = 1.05
"""Ratio of measured times from which the order of two runs means something."""


@dataclass(frozen=True)
class ExpertGroup:
    """Runs of one model on one device.

    Args:
        complete: whether its rows leave nothing open.
        mean_ape: mean absolute error; offset: geometric mean of predicted over measured, minus one.
        within: mean absolute error after that offset is taken out, None for a single run.
        pairs: distinct runs that differ by more than the gap; ordered: of these, in the measured order.
    """

    family: str
    accelerator: str
    model: str
    complete: bool
    n: int
    mean_ape: float
    offset: float
    within: float | None
    pairs: int
    ordered: int


@dataclass(frozen=True)
class ExpertScore:
    """Five figures of complete rows (mean, worst group, within, order, hard pairs) and the groups behind them.

    Args:
        mean_ape, within: means over groups, one vote each; worst: the largest ``mean_ape`` of a group.
        ordered: share of all pairs that are in the measured order.
        right, near: hard pairs whose direction is right, and whose ratio is within ``hard_pairs.NEAR``.
    """

    groups: tuple[ExpertGroup, ...]
    mean_ape: float | None
    worst: float | None
    within: float | None
    pairs: int
    ordered: float | None
    hard_pairs: tuple[PairScore, ...]

    @property
    def right(self) -> int:
        return sum(pair.right for pair in self.hard_pairs)

    @property
    def near(self) -> int:
        return sum(pair.near for pair in self.hard_pairs)


def expert_score(outcomes: Sequence[Outcome], pairs: Iterable[HardPair]) -> ExpertScore | None:
    """The score of the rows with experts, None when there are none with a time.

    Args:
        outcomes: of all rows; doubtful ones count in no group.
        pairs: the hard pairs; those whose rows are not among the outcomes are left out.
    """
    members: dict[tuple[str, str, str, bool], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.experts and outcome.error is not None and outcome.heading != "doubtful":
            name = outcome.row.model.name or ""
            key = (outcome.family, outcome.accelerator, name, outcome.row.complete)
            members.setdefault(key, []).append(outcome)
    if not members:
        return None
    groups = tuple(_group(key, members[key]) for key in sorted(members))
    complete = [group for group in groups if group.complete]
    compared = sum(group.pairs for group in complete)
    return ExpertScore(
        groups=groups,
        mean_ape=mean_of([group.mean_ape for group in complete]),
        worst=max((group.mean_ape for group in complete), default=None),
        within=mean_of([group.within for group in complete]),
        pairs=compared,
        ordered=sum(group.ordered for group in complete) / compared if compared else None,
        hard_pairs=tuple(pair_scores(outcomes, pairs)),
    )


def _group(key: tuple[str, str, str, bool], members: Sequence[Outcome]) -> ExpertGroup:
    logs = [math.log1p(outcome.error or 0.0) for outcome in members]
    offset = statistics.fmean(logs)
    pairs = list(_pairs(members))
    return ExpertGroup(
        *key,
        n=len(members),
        mean_ape=statistics.fmean(abs(outcome.error or 0.0) for outcome in members),
        offset=math.expm1(offset),
        within=statistics.fmean(abs(math.expm1(log - offset)) for log in logs) if len(logs) > 1 else None,
        pairs=len(pairs),
        ordered=sum(pairs),
    )


def _pairs(members: Sequence[Outcome]) -> Iterable[bool]:
    """For every two configurations that measured differently: whether they are predicted in that order.

    Repeats of one configuration count once, at their median, as they do in sets of layouts.
    """
    same: dict[Hashable, list[Outcome]] = {}
    for outcome in members:
        same.setdefault(_configuration(outcome), []).append(outcome)
    points = [
        (statistics.median(o.measured_s or 0.0 for o in found), found[0].predicted_s or 0.0)
        for found in same.values()
    ]
    for (measured, predicted), (other, also) in itertools.combinations(points, 2):
        if max(measured, other) > GAP * min(measured, other):
            yield (measured - other) * (predicted - also) > 0.0


def _configuration(outcome: Outcome) -> Hashable:
    return outcome.row.layout.global_batch, tuple((r.variant.key, r.variant.layout) for r in outcome.readings)
