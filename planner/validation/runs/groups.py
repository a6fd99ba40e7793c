"""Errors of step time by group (family x accelerator), one vote per measurement."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.validation.runs.outcome import Outcome
from planner.validation.runs.sets import LayoutSet
from planner.validation.runs.statistics import ErrorSummary, mean_of, summarise

TINY = 1e-9
"""A baseline error below it is that of a single row, which a constant always meets."""

SMALLEST_FOR_MEDIAN, SMALLEST_FOR_P90 = 3, 5
"""Votes that a group needs to count in the macro median, and in the macro 90th percentile."""

FLAT_ENOUGH = 0.06
"""Mean error of one constant utilisation up to which a group is nearly flat ..."""

SKILL_BARS = {True: 0.5, False: 0.8}
"""... and what of it the model's mean error may be: half, or 0.8 in nearly flat groups."""


@dataclass(frozen=True)
class Group:
    """One group.

    Args:
        n: rows that measured a time; predicted: of these; votes: measurements (cells count once).
        errors: None when nothing was predicted.
        flat_mfu: the same figures for one constant utilisation of the group, the baseline that a model must beat.
        kendall_tau, regret_mean: means over the group's sets of layouts.
        coverage: share of the rows inside their interval; interval_width_median: upper end over lower end, minus one.
    """

    key: tuple[Any, ...]
    n: int
    predicted: int
    votes: int
    errors: ErrorSummary | None
    flat_mfu: ErrorSummary | None
    kendall_tau: float | None
    regret_mean: float | None
    regret_worst: float | None
    coverage: float | None
    interval_width_median: float | None

    @property
    def skill(self) -> float | None:
        """Mean error over that of the flat utilisation: below 1 the model knows what differs inside the group."""
        if self.errors is None or self.flat_mfu is None or self.flat_mfu.mean_ape < TINY:
            return None
        return self.errors.mean_ape / self.flat_mfu.mean_ape

    @property
    def skill_bar(self) -> float | None:
        """Skill that is asked for: little is left to know where one constant is nearly right. None where skill is not judged."""
        if self.skill is None or self.flat_mfu is None or self.votes < SMALLEST_FOR_MEDIAN:
            return None
        return SKILL_BARS[self.flat_mfu.mean_ape > FLAT_ENOUGH]

    @property
    def skilled(self) -> bool | None:
        """Whether the skill meets its bar."""
        if self.skill is None or self.skill_bar is None:
            return None
        return self.skill <= self.skill_bar


def group_key(outcome: Outcome) -> tuple[Any, ...]:
    """Family x accelerator."""
    return outcome.family, outcome.accelerator


def groups_of(
    outcomes: Iterable[Outcome],
    sets: Sequence[LayoutSet] = (),
    key: Callable[[Outcome], tuple[Any, ...]] = group_key,
) -> list[Group]:
    """Groups in alphabetical order, of the outcomes that measured a time or were refused before it could be read."""
    members: dict[tuple[Any, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.measured_s is not None or (outcome.refused and times_anything(outcome)):
            members.setdefault(key(outcome), []).append(outcome)
    return [
        _group(name, found, sets) for name, found in sorted(members.items(), key=lambda item: str(item[0]))
    ]


def times_anything(outcome: Outcome) -> bool:
    """Whether the source measured a time or a rate, convertible or not."""
    found = outcome.row.measured
    rates = (found.step_time_s, found.tokens_per_s, found.tokens_per_s_per_device, found.samples_per_s)
    return any(rates) or any((found.mfu, found.hfu, found.model_tflops_per_device))


def _group(key: tuple[Any, ...], members: list[Outcome], sets: Sequence[LayoutSet]) -> Group:
    scored = [outcome for outcome in members if outcome.error is not None]
    mine = [item for item in sets if (item.family, item.accelerator) == key[:2]]
    inside, widths = [], []
    for outcome in scored:
        low, high = outcome.interval_s or (0.0, 0.0)
        inside.append(low <= (outcome.measured_s or 0.0) <= high)
        widths.append(high / low - 1.0)
    return Group(
        key=key,
        n=len(members),
        predicted=len(scored),
        votes=len(_votes(scored, lambda outcome: outcome.error or 0.0)),
        errors=summarise(_votes(scored, lambda outcome: outcome.error or 0.0)),
        flat_mfu=summarise(flat_errors(scored)),
        kendall_tau=mean_of([item.tau for item in mine]),
        regret_mean=mean_of([item.regret for item in mine]),
        regret_worst=max((item.regret for item in mine), default=None),
        coverage=float(np.mean(inside)) if inside else None,
        interval_width_median=statistics.median(widths) if widths else None,
    )


def flat_errors(scored: Sequence[Outcome]) -> list[float]:
    """Errors of one utilisation for the whole group, the median one; recompute counts as work."""
    shares = [(o.flops_s or 0.0) / (o.measured_s or 1.0) for o in scored]
    if not shares:
        return []
    constant = statistics.median(shares)
    errors = {o.row.id: share / constant - 1.0 for o, share in zip(scored, shares, strict=True)}
    return _votes(scored, lambda outcome: errors[outcome.row.id])


def _votes(scored: Sequence[Outcome], error: Callable[[Outcome], float]) -> list[float]:
    """One error per vote: rows of a cell share theirs, the one with the median size."""
    by_vote: dict[Hashable, list[float]] = {}
    for outcome in scored:
        vote: Hashable = outcome.row.id if outcome.cell is None else outcome.cell
        by_vote.setdefault(vote, []).append(error(outcome))
    return [sorted(values, key=abs)[(len(values) - 1) // 2] for values in by_vote.values()]


def macro(groups: Iterable[Group], figure: Callable[[ErrorSummary], float], smallest: int) -> float | None:
    """Mean over the groups of enough votes, one vote per group; None without such a group."""
    values = [figure(g.errors) for g in groups if g.errors is not None and g.votes >= smallest]
    return mean_of(values)
