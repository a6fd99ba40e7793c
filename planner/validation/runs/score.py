"""Everything that is said about a set of published runs: groups, memory, order, intervals, refusals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.validation.runs.assignments import Assignment, best_assignments
from planner.validation.runs.experts import ExpertScore, expert_score
from planner.validation.runs.groups import (
    SMALLEST_FOR_MEDIAN,
    SMALLEST_FOR_P90,
    Group,
    groups_of,
    macro,
)
from planner.validation.runs.hard_pairs import load_hard_pairs
from planner.validation.runs.memory_scores import FitTable, MemoryGroup, fit_table, memory_groups
from planner.validation.runs.outcome import Outcome
from planner.validation.runs.sets import LayoutSet, layout_sets, one_vote_each
from planner.validation.runs.statistics import mean_of


@dataclass(frozen=True)
class Overall:
    """Figures of the complete rows without a doubt. Macro figures give each group one vote.

    Args:
        n, predicted, refused: complete rows, doubtful ones included.
        dense, moe: macro medians over groups of dense rows and over groups of rows with experts.
        regret_mean: macro over families; regret_p95: over all sets, one vote each.
        tau: mean over sets of ten layouts or more.
        coverage: macro over families; interval_width: median over rows.
    """

    n: int
    predicted: int
    refused: int
    macro_median_ape: float | None
    macro_mean_ape: float | None
    macro_p90_ape: float | None
    dense_macro_median_ape: float | None
    moe_macro_mean_ape: float | None
    regret_mean: float | None
    regret_p95: float | None
    tau: float | None
    coverage: float | None
    interval_width_median: float | None


@dataclass(frozen=True)
class Score:
    """The result of ``plan validate runs``."""

    outcomes: tuple[Outcome, ...]
    groups: tuple[Group, ...]
    incomplete: tuple[Group, ...]
    doubtful: tuple[Group, ...]
    models: tuple[Group, ...]
    experts: ExpertScore | None
    overall: Overall
    memory: tuple[MemoryGroup, ...]
    fits: FitTable
    sets: tuple[LayoutSet, ...]
    assignments: tuple[Assignment, ...]
    refused: tuple[tuple[str, int], ...]
    approximated: tuple[tuple[str, int], ...]

    def worst(self, count: int) -> list[Outcome]:
        """The complete rows with the largest errors, in size of the log error."""
        scored = [o for o in self.outcomes if o.heading == "complete" and o.error is not None]
        return sorted(scored, key=lambda o: -abs(np.log(1.0 + (o.error or 0.0))))[:count]


def score(outcomes: Sequence[Outcome]) -> Score:
    """Scores of predicted rows."""
    by_heading = {
        name: [o for o in outcomes if o.heading == name] for name in ("complete", "incomplete", "doubtful")
    }
    complete = by_heading["complete"]
    sets = one_vote_each(layout_sets(complete))
    groups = groups_of(complete, sets)
    assignments = best_assignments(outcomes)
    return Score(
        outcomes=tuple(outcomes),
        groups=tuple(groups),
        incomplete=tuple(groups_of(by_heading["incomplete"])),
        doubtful=tuple(groups_of(by_heading["doubtful"])),
        models=tuple(groups_of([o for o in complete if o.experts], (), _by_model)),
        experts=expert_score(outcomes, load_hard_pairs()),
        overall=_overall(outcomes, complete, groups, sets),
        memory=tuple(memory_groups(outcomes, assignments)),
        fits=fit_table(outcomes),
        sets=tuple(sets),
        assignments=tuple(assignments),
        refused=_counted(o.refused or o.not_scored for o in outcomes),
        approximated=_counted(text for o in outcomes for text in (*o.approximated, *o.assumed)),
    )


def _by_model(outcome: Outcome) -> tuple[str, ...]:
    return outcome.family, outcome.accelerator, outcome.row.model.name or ""


def _overall(
    outcomes: Sequence[Outcome],
    complete: Sequence[Outcome],
    groups: Sequence[Group],
    sets: Sequence[LayoutSet],
) -> Overall:
    rows = [o for o in outcomes if o.row.complete]
    dense = groups_of([o for o in complete if not o.experts])
    experts = groups_of([o for o in complete if o.experts], (), _by_model)
    widths = [o.interval_s[1] / o.interval_s[0] - 1.0 for o in complete if o.interval_s and o.measured_s]
    return Overall(
        n=len(rows),
        predicted=sum(bool(o.readings) for o in rows),
        refused=sum(not o.readings for o in rows),
        macro_median_ape=macro(groups, lambda e: e.median_ape, SMALLEST_FOR_MEDIAN),
        macro_mean_ape=macro(groups, lambda e: e.mean_ape, SMALLEST_FOR_MEDIAN),
        macro_p90_ape=macro(groups, lambda e: e.p90_ape, SMALLEST_FOR_P90),
        dense_macro_median_ape=macro(dense, lambda e: e.median_ape, SMALLEST_FOR_MEDIAN),
        moe_macro_mean_ape=macro(experts, lambda e: e.mean_ape, 1),
        regret_mean=_macro_regret(sets),
        regret_p95=float(np.percentile([s.regret for s in sets], 95)) if sets else None,
        tau=mean_of([s.tau for s in sets if s.layouts >= 10]),
        coverage=mean_of(_family_coverage(groups)),
        interval_width_median=float(np.median(widths)) if widths else None,
    )


def _macro_regret(sets: Sequence[LayoutSet]) -> float | None:
    families = sorted({item.family for item in sets})
    return mean_of([mean_of([s.regret for s in sets if s.family == name]) for name in families])


def _family_coverage(groups: Sequence[Group]) -> list[float | None]:
    families = sorted({str(group.key[0]) for group in groups})
    return [mean_of([g.coverage for g in groups if g.key[0] == name]) for name in families]


def _counted(reasons: Iterable[str | None]) -> tuple[tuple[str, int], ...]:
    """Reasons with their counts, most frequent first; figures after a colon belong to single rows."""
    counts = Counter(_kind(reason) for reason in reasons if reason)
    return tuple(counts.most_common())


def _kind(reason: str) -> str:
    head, _, rest = reason.partition(": ")
    return f"{head}: {rest.split(': ')[0]}" if head in ("feature", "illegal layout", "measured") else head
