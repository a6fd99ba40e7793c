"""The best pipeline over several groups, exactly: candidates in the order of their bounds, each cut by the stage programme."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from planner.layouts.layouts import IntArray
from planner.layouts.space.choices import near_even
from planner.solvers.mixed.candidates import Candidates, Side, candidates, even_bound
from planner.solvers.mixed.contents import Contents
from planner.solvers.mixed.room import have_room
from planner.solvers.mixed.tables import StageCosts, StageTables
from planner.solvers.stages.cuts import best_cuts
from planner.solvers.stages.table import StageTable

_FIRST = 16
_GROWTH = 16
"""Candidates of the first portion, and how many times larger each next one is: tables are cheap for many ways at once, and the
first portion already rules out most of the others."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Pipeline:
    """A pipeline over groups.

    Args:
        order: groups from the first stage on; ``ways``: row of each in the group's ``Ways``; ``stages``: of each.
        bounds: first layer of every stage, and the number of layers.
        policies: recompute policy of every stage.
        waited_s: seconds of a step that every rank waits for hops and the sum of tied tables, of them ``tied_s`` for the sum.
        hop_s: of the longest hop that nothing hides. step_s: of a step.
    """

    order: tuple[int, ...]
    ways: tuple[int, ...]
    stages: tuple[int, ...]
    micro_batches: int
    bounds: tuple[int, ...]
    policies: tuple[int, ...]
    waited_s: float
    tied_s: float
    hop_s: float
    step_s: float

    @property
    def flights(self) -> tuple[int, ...]:
        """Micro-batches in flight of every stage under 1F1B."""
        count = len(self.policies)
        return tuple(min(count - place, self.micro_batches) for place in range(count))


@dataclass(frozen=True)
class Limits:
    """When to stop early: ``gap`` to the optimum that is near enough; ``deadline_s``, a value of ``time.monotonic``."""

    gap: float = 0.0
    deadline_s: float | None = None

    @property
    def late(self) -> bool:
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s


@dataclass(frozen=True)
class PipelineSearch:
    """Outcome of the search over one set of groups.

    Args:
        best: None where nothing fits.
        candidates: combinations of ways and orders; each has all its cuts and recompute policies.
        cut: of them, those whose best cut was computed; ``unfit``: no cut fits; ``bound``: not better by their bound.
        lower_bound_s: no pipeline of the space has a shorter step.
    """

    best: Pipeline | None
    candidates: int
    cut: int
    unfit: int
    bound: int
    lower_bound_s: float


def best_pipeline(
    sides: Mapping[int, Side],
    tables: Mapping[int, StageTables],
    contents: Contents,
    limits: Limits,
    *,
    even: bool = False,
    progress: Progress | None = None,
) -> PipelineSearch:
    """The fastest pipeline over all of the groups in any order.

    Args:
        sides, tables: by group.
        even: only cuts into stages whose layers differ by at most one.
        progress: called with (done fraction, message).
    """
    found = [candidates(sides, order) for order in permutations(sorted(sides))]
    bounds = np.concatenate([even_bound(sides, item) if even else item.bound for item in found])
    owner = np.repeat(np.arange(len(found)), [len(item) for item in found])
    rows = np.concatenate([np.arange(len(item)) for item in found])
    order = np.argsort(bounds, kind="stable")
    best: Pipeline | None = None
    done = unfit = 0
    size = _FIRST
    while done < len(order) and not limits.late:
        if (
            best is None and size == _FIRST * _GROWTH
        ):  # memory is short: what cannot hold all layers goes at once
            holds = have_room(sides, tables, found)
            order = np.concatenate([order[:done], order[done:][holds[order[done:]]]])
        goal = np.inf if best is None else best.step_s * (1.0 - limits.gap)
        part = [place for place in order[done : done + size].tolist() if bounds[place] < goal]
        if not part:
            break
        chosen = [(found[owner[place]], int(rows[place])) for place in part]
        _fill(sides, tables, chosen)
        for item, row in chosen:
            below = np.inf if best is None else best.step_s
            if item.bound[row] >= below:
                break
            answer, fits = _cut(sides, tables, contents, item, row, below, even=even)
            best, unfit, done = answer or best, unfit + (not fits), done + 1
        size *= _GROWTH
        if progress is not None:
            progress(done / max(len(order), 1), f"{done:,} of {len(order):,} pipelines")
    left = float(bounds[order[done]]) if done < len(order) else np.inf
    lower_bound_s = min(np.inf if best is None else best.step_s, left)
    unfit += len(bounds) - len(order)
    return PipelineSearch(best, len(bounds), done, unfit, len(order) - done, lower_bound_s)


def _fill(
    sides: Mapping[int, Side], tables: Mapping[int, StageTables], chosen: Sequence[tuple[Candidates, int]]
) -> None:
    """Computes the stage tables that some candidates need."""
    asked: dict[int, list[tuple[int, int]]] = {place: [] for place in sides}
    for item, row in chosen:
        for group, way, flights in _segments(sides, item, row):
            asked[group] += [(way, flight) for flight in flights]
    for group, pairs in asked.items():
        tables[group].fill(pairs)


def _segments(
    sides: Mapping[int, Side], item: Candidates, row: int
) -> list[tuple[int, int, tuple[int, ...]]]:
    """(group, way, micro-batches in flight of its stages) along the pipeline."""
    left, most = int(item.stages[row]), int(item.micro_batches[row])
    result = []
    for group, way in zip(item.order, item.ways[row].tolist(), strict=True):
        count = int(sides[group].ways.stages[way])
        result.append((group, way, tuple(min(left - place, most) for place in range(count))))
        left -= count
    return result


def _cut(
    sides: Mapping[int, Side],
    tables: Mapping[int, StageTables],
    contents: Contents,
    item: Candidates,
    row: int,
    below: float,
    *,
    even: bool,
) -> tuple[Pipeline | None, bool]:
    """The best cut of a candidate if its step is shorter than ``below``; whether every layer fits somewhere."""
    segments = _segments(sides, item, row)
    costs = [tables[group].costs(way, flight) for group, way, flights in segments for flight in flights]
    table = _table(contents, costs, near_even(contents.layers, len(costs)) if even else None)
    once = float(item.once[row])
    cuts = best_cuts(table, below - once)
    if cuts is None:
        return None, bool(np.isfinite(table.seconds).any(axis=(1, 2)).all())
    step_s = max(_step(table, cuts) + once, float(item.filled[row]))
    if step_s >= below:
        return None, True
    spans = zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
    policies = [int(cost.policies[contents.index[span]]) for cost, span in zip(costs, spans, strict=True)]
    return Pipeline(
        item.order,
        tuple(way for _, way, _ in segments),
        tuple(len(flights) for _, _, flights in segments),
        int(item.micro_batches[row]),
        tuple(cuts.tolist()),
        tuple(policies),
        once,
        float(item.tied[row]),
        float(item.hop[row]),
        step_s,
    ), True


def _table(contents: Contents, costs: Sequence[StageCosts], even: tuple[int, ...] | None) -> StageTable:
    """Costs of every run of layers on every stage; a run that no stage may own is infinite."""
    index = contents.index
    seconds = np.stack([np.append(cost.seconds, np.inf)[index] for cost in costs])
    held = np.stack([np.append(cost.held, np.inf)[index] for cost in costs])
    if even is not None:
        ends = np.cumsum((0, *even))
        allowed = np.zeros(seconds.shape, dtype=np.bool_)
        allowed[np.arange(len(costs)), ends[:-1], ends[1:]] = True
        seconds = np.where(allowed, seconds, np.inf)
    return StageTable(seconds, np.where(np.isfinite(seconds), held, np.inf))


def _step(table: StageTable, cuts: IntArray) -> float:
    """One micro-batch on every stage, and what the stage that holds the step up most does beyond."""
    runs = (np.arange(len(cuts) - 1), cuts[:-1], cuts[1:])
    return float(table.seconds[runs].sum() + table.bottleneck[runs].max())
