"""Sets of runs that differ in layout only: is the order right, and what would our favourite have cost?"""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.validation.runs.outcome import Outcome
from planner.validation.runs.rows import RunRow
from planner.validation.runs.statistics import kendall_tau

_ABOUT_NOTHING = ("name", "note", "vocab_note", "ffn_note", "dims_source")


@dataclass(frozen=True)
class LayoutSet:
    """Complete rows that share everything but the layout.

    Args:
        rows: their ids; layouts: distinct layouts among them (repeats are one, at their median time).
        tau: Kendall's tau-b of predicted and measured times, None when one side has no order.
        regret: measured time of the layout that we would choose over the best one, minus one.
        favourite, best: a row of the layout that is predicted fastest, and of the one that was.
        cells: measured pieces that all its times were composed from (rows that share a vote), empty otherwise.
        copies: sets of the same cells that it stands for, itself included.
        reason: what is known about the measured time of the best or the favourite, where no layout explains it.
    """

    family: str
    accelerator: str
    rows: tuple[str, ...]
    layouts: int
    tau: float | None
    regret: float
    favourite: str
    best: str
    cells: tuple[str, ...] = ()
    copies: int = 1
    reason: str | None = None


def layout_sets(outcomes: Iterable[Outcome]) -> list[LayoutSet]:
    """All sets with at least two layouts, in order of appearance."""
    found: dict[Hashable, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.heading == "complete" and outcome.error is not None:
            found.setdefault(shared_by(outcome.row, outcome.family), []).append(outcome)
    sets = (_set(members) for members in found.values() if len(members) > 1)
    return [item for item in sets if item is not None]


def one_vote_each(sets: Iterable[LayoutSet]) -> list[LayoutSet]:
    """One set per vote: sets whose times were composed from the same cells repeat one measurement (other depths, more
    micro-batches, more replicas of the same pieces) and are stood for by the one with the median regret."""
    found: dict[Hashable, list[LayoutSet]] = {}
    for position, item in enumerate(sets):
        vote = (item.family, item.accelerator, item.cells) if item.cells else position
        found.setdefault(vote, []).append(item)
    return [replace(_median(same), copies=len(same)) for same in found.values()]


def _median(sets: Sequence[LayoutSet]) -> LayoutSet:
    return sorted(sets, key=lambda item: item.regret)[(len(sets) - 1) // 2]


def shared_by(row: RunRow, family: str) -> Hashable:
    """What rows of one set share: model, hardware, batch, sequence, family, release, precision, compile and capture."""
    model = {k: v for k, v in row.model.model_dump().items() if k not in _ABOUT_NOTHING}
    hardware = row.hardware
    return (
        family,
        row.release,
        repr(sorted(model.items(), key=lambda pair: pair[0])),
        hardware.accelerator,
        hardware.count,
        hardware.per_node,
        repr(hardware.network),
        row.layout.global_batch,
        row.layout.precision,
        row.layout.fp8_recipe,
        row.layout.compile,
        row.layout.cuda_graph,
    )


def _set(members: list[Outcome]) -> LayoutSet | None:
    by_layout: dict[Any, list[Outcome]] = {}
    for outcome in members:
        by_layout.setdefault(outcome.layout, []).append(outcome)
    if len(by_layout) < 2:
        return None
    predicted = [statistics.median(o.predicted_s or 0.0 for o in same) for same in by_layout.values()]
    measured = [statistics.median(o.measured_s or 0.0 for o in same) for same in by_layout.values()]
    names = [same[0].row.id for same in by_layout.values()]
    favourite = min(range(len(predicted)), key=predicted.__getitem__)
    best = min(range(len(measured)), key=measured.__getitem__)
    notes = [same[0].order_note for same in by_layout.values()]
    return LayoutSet(
        family=members[0].family,
        accelerator=members[0].accelerator,
        rows=tuple(outcome.row.id for outcome in members),
        layouts=len(by_layout),
        tau=kendall_tau(predicted, measured),
        regret=measured[favourite] / measured[best] - 1.0,
        favourite=names[favourite],
        best=names[best],
        cells=tuple(sorted({str(outcome.cell) for outcome in members if outcome.cell is not None})),
        reason=None if favourite == best else notes[best] or notes[favourite],
    )
