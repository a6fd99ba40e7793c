"""Errors of memory by counter, and whether what ran fits and what ran out does not."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from planner.validation.runs.assignments import Assignment
from planner.validation.runs.memory_figures import MemoryFigure
from planner.validation.runs.outcome import Outcome
from planner.validation.runs.statistics import ErrorSummary, mean_of, summarise


@dataclass(frozen=True)
class MemoryGroup:
    """Figures of one counter, family and accelerator.

    Args:
        n: figures (pipeline ranks count on their own); votes: distinct ones, copies of a layout counted once.
        inside: share of the figures within the extremes of the readings (only rows that leave something open).
        assigned: errors of such rows under the one assignment per model that explains time and memory best.
    """

    memory_kind: str
    family: str
    accelerator: str
    complete: bool
    n: int
    votes: int
    errors: ErrorSummary | None
    worst: float | None
    inside: float | None
    assigned: ErrorSummary | None


def memory_groups(outcomes: Iterable[Outcome], assignments: Iterable[Assignment] = ()) -> list[MemoryGroup]:
    """Groups in alphabetical order; figures with a doubt are left out.

    Args:
        assignments: of the models of incomplete rows.
    """
    places = {row: place for item in assignments if item.setting for row, place in item.places.items()}
    found: dict[tuple[str, str, str, bool], list[tuple[Outcome, MemoryFigure]]] = {}
    for outcome in outcomes:
        for figure in outcome.memory if outcome.memory_doubt is None else ():
            key = (figure.kind, outcome.family, outcome.accelerator, outcome.row.complete)
            found.setdefault(key, []).append((outcome, figure))
    return [_group(key, members, places) for key, members in sorted(found.items())]


def _group(
    key: tuple[str, str, str, bool],
    members: list[tuple[Outcome, MemoryFigure]],
    places: Mapping[str, int],
) -> MemoryGroup:
    votes: dict[Hashable, float] = {}
    assigned: dict[Hashable, float] = {}
    for outcome, figure in members:
        vote = _vote(outcome, figure)
        votes.setdefault(vote, figure.error)
        if (place := places.get(outcome.row.id)) is not None:
            assigned.setdefault(vote, figure.by_setting[place] / figure.measured_bytes - 1.0)
    errors = list(votes.values())
    open_ones = [f for o, f in members if len(o.readings) > 1]
    return MemoryGroup(
        *key,
        n=len(members),
        votes=len(votes),
        errors=summarise(errors),
        worst=max(errors, key=abs, default=None),
        inside=mean_of([float(f.low_bytes <= f.measured_bytes <= f.high_bytes) for f in open_ones]),
        assigned=summarise(list(assigned.values())),
    )


def _vote(outcome: Outcome, figure: MemoryFigure) -> Hashable:
    """Memory does not depend on the number of micro-batches: equal layouts with equal figures are copies."""
    layout = outcome.layout
    batch = 0 if layout is None else min(layout.micro_batches, layout.pp)
    model = outcome.row.model.model_dump_json(exclude={"name"})
    return (
        model,
        repr(outcome.row.layout.model_copy(update=_SAME)),
        batch,
        figure.kind,
        figure.rank,
        figure.measured_bytes,
    )


_SAME = {"global_batch": None, "grad_accum": None, "schedule": None}


@dataclass(frozen=True)
class FitTable:
    """Runs that ran out of memory, and runs that ran, against the verdict of the prediction.

    A row that leaves settings open is judged over its readings: what happened must be possible under one of them.
    ``oom_certain``: of the rows that ran out, those that do not fit under any reading.
    """

    oom_predicted_oom: int
    oom_predicted_fit: int
    fit_predicted_oom: int
    fit_predicted_fit: int
    oom_certain: int
    oom_refused: int
    wrong: tuple[str, ...]


def fit_table(outcomes: Iterable[Outcome]) -> FitTable:
    """The two-by-two table: all rows that ran out of memory, and all complete rows that measured anything."""
    counts = {"oo": 0, "of": 0, "fo": 0, "ff": 0}
    certain = refused = 0
    wrong: list[str] = []
    for outcome in outcomes:
        oom = bool(outcome.row.measured.oom)
        if not oom and not outcome.row.complete:
            continue
        if not outcome.readings:
            refused += oom
            continue
        verdicts = [reading.fits for reading in outcome.readings]
        fits = all(verdicts) if oom else any(verdicts)
        counts[("o" if oom else "f") + ("f" if fits else "o")] += 1
        certain += oom and not any(verdicts)
        if fits == oom:
            wrong.append(outcome.row.id)
    return FitTable(counts["oo"], counts["of"], counts["fo"], counts["ff"], certain, refused, tuple(wrong))
