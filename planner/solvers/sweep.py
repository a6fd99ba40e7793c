"""Goes through a space in order of lower bounds and keeps the best layouts and the Pareto set, exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.costs.evaluate import fits, memory_totals, step_times
from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job, Objective
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.space.space import BLOCK_ROWS, Space
from planner.solvers.bounds import time_lower_bound
from planner.solvers.frontier import Frontier, Points
from planner.solvers.memory_bound import memory_lower_bound
from planner.solvers.ranking import Ranking, objective_values

Progress = Callable[[float, str], None]


_FIRST_ROWS = 1 << 13
"""Layouts of the first block; each one after it is four times as large. Good layouts found early rule others out."""


@dataclass(frozen=True)
class SweepOptions:
    """How far to go.

    Args:
        top: layouts to rank.
        gap: stop when no layout left can be better than the best by more than this fraction.
        deadline_s: value of ``time.monotonic`` at which to stop; None for never.
        cutoff_s: layouts slower than this are of no interest.
        prune: use the bounds; False evaluates every layout that fits (for tests).
        pareto: keep the Pareto set.
    """

    top: int = 10
    gap: float = 0.0
    deadline_s: float | None = None
    cutoff_s: float = float("inf")
    prune: bool = True
    pareto: bool = True
    block_rows: int = BLOCK_ROWS


@dataclass(frozen=True)
class Sweep:
    """State of a search while it goes on, and its result.

    Args:
        ranking, frontier: best layouts and Pareto set of what was evaluated.
        evaluated: layouts whose step time was computed.
        pruned: layouts dropped, by reason (memory: do not fit; bound: cannot be better).
        lower_bound: no layout of the space has a smaller objective value.
        finished: every layout was evaluated or dropped with proof.
    """

    ranking: Ranking
    frontier: Frontier
    evaluated: int
    pruned: dict[str, int]
    lower_bound: float
    finished: bool


def empty_sweep(objective: Objective, space: Space, top: int) -> Sweep:
    """Nothing seen yet."""
    nothing = np.zeros(0)
    points = Points(space.outer.take(slice(0, 0)), nothing, nothing, np.zeros(0, dtype=np.int64))
    return Sweep(Ranking(objective, top, points), Frontier(points), 0, {"memory": 0, "bound": 0}, 0.0, False)


def sweep_space(
    job: Job,
    space: Space,
    options: SweepOptions,
    objective: Objective,
    progress: Progress | None = None,
    prices: Prices | None = None,
) -> Sweep:
    """The best layouts of a space with proof.

    Outer rows are visited in the order of their lower bounds, those that bounds of time and memory rule out are not made.
    Memory of every visited layout is computed first; step time only of layouts that fit and whose bound could still enter
    the ranking or the Pareto set.

    Args:
        prices: block prices that cover the space (they do not depend on the batch); computed here when None.
    """
    prices = price_model(job, space.outer) if prices is None else prices
    bounds = _Bounds.of(job, space, prices)
    state = empty_sweep(objective, space, options.top)
    values = objective_values(objective, bounds.time_s, np.zeros_like(bounds.time_s), bounds.devices)
    left = visiting_order(space, values, options.block_rows)
    if options.prune:
        few = bounds.time_s[left] <= options.cutoff_s
        state, left = _dropped(state, space, left, few, "bound")
        none = np.zeros(len(left))
        state, left = _dropped(state, space, left, fits(job, bounds.memory_bytes[left], none, none), "memory")
    rows = _FIRST_ROWS
    while len(left):
        state = replace(state, lower_bound=min(float(values[left].min()), state.ranking.best))
        if _near_enough(state, options) or _late(options):
            break
        if options.prune:
            state, left = _dropped(state, space, left, bounds.worthwhile(state, left, options), "bound")
        for group, layouts, owner in space.blocks(left, block_rows=min(rows, options.block_rows)):
            state = _visit(job, prices, layouts, bounds.time_s[owner], options, state)
            left, rows = left[len(group) :], 4 * rows
            break
        if progress is not None:
            done = space.size - int(space.candidates[left].sum())
            progress(done / max(space.size, 1), f"{done:,} of {space.size:,} layouts")
    else:
        state = replace(state, lower_bound=state.ranking.best, finished=True)
    reason = "bound" if state.finished or _near_enough(state, options) else "time_limit"
    return _dropped(state, space, left, np.zeros(len(left), dtype=np.bool_), reason)[0]


@dataclass(frozen=True)
class _Bounds:
    """What no layout under an outer row can go below, and the devices that it uses, shape (outer rows,)."""

    time_s: FloatArray
    memory_bytes: FloatArray
    devices: IntArray

    @staticmethod
    def of(job: Job, space: Space, prices: Prices) -> _Bounds:
        return _Bounds(
            time_lower_bound(job, space.outer, prices),
            memory_lower_bound(job, space, prices),
            _devices(space.outer),
        )

    def worthwhile(self, state: Sweep, rows: IntArray, options: SweepOptions) -> NDArray[np.bool_]:
        """Outer rows that may hold a layout of the ranking or the Pareto set."""
        return _worthwhile(state, self.time_s[rows], self.memory_bytes[rows], self.devices[rows], options)


def _dropped(
    state: Sweep, space: Space, rows: IntArray, keep: NDArray[np.bool_], reason: str
) -> tuple[Sweep, IntArray]:
    """The outer rows that are kept; all layouts under the others are counted as pruned."""
    lost = int(space.candidates[rows[~keep]].sum())
    return replace(state, pruned={**state.pruned, reason: state.pruned.get(reason, 0) + lost}), rows[keep]


def visiting_order(space: Space, bounds: FloatArray, block_rows: int) -> IntArray:
    """Outer rows by ascending bound, in portions of one block, then four times as many, and so on.

    Inside a portion equal pipelines stand together: blocks of few distinct pipelines are priced much faster.
    """
    order = np.argsort(bounds, kind="stable")
    before = np.cumsum(space.candidates[order]) / block_rows
    portion = np.ceil(np.log(np.maximum(before, 1.0)) / np.log(4.0)).astype(np.int64)
    outer = space.outer
    keys = (bounds[order], outer.micro_batch[order], outer.vpp[order], outer.pp[order], portion)
    return order[np.lexsort(keys)]


def _near_enough(state: Sweep, options: SweepOptions) -> bool:
    if options.gap <= 0 and options.pareto:
        return False
    goal = state.ranking.best * (1.0 - options.gap) if options.gap > 0 else state.ranking.worst
    return options.prune and len(state.ranking.points) > 0 and state.lower_bound > goal


def _late(options: SweepOptions) -> bool:
    return options.deadline_s is not None and time.monotonic() >= options.deadline_s


def _devices(layouts: Layouts) -> IntArray:
    used: IntArray = layouts.tp * layouts.cp * layouts.pp * layouts.dp
    return used


def _visit(
    job: Job, prices: Prices, layouts: Layouts, bound_s: FloatArray, options: SweepOptions, state: Sweep
) -> Sweep:
    """Evaluates one block."""
    memory = memory_totals(job, layouts, prices)
    devices = _devices(layouts)
    keep: NDArray[np.bool_] = memory.fits
    if options.prune:
        keep = keep & _worthwhile(state, bound_s, memory.device_used_bytes, devices, options)
    chosen = np.flatnonzero(keep)
    fitting = int(np.count_nonzero(memory.fits))
    pruned = dict(state.pruned)
    pruned["memory"] += len(layouts) - fitting
    pruned["bound"] += fitting - len(chosen)
    if not len(chosen):
        return replace(state, pruned=pruned)
    rows = layouts.take(chosen)
    points = Points(rows, step_times(job, rows, prices), memory.device_used_bytes[chosen], devices[chosen])
    points = points.take(points.time_s <= options.cutoff_s)
    return replace(
        state,
        ranking=state.ranking.add(points),
        frontier=state.frontier.add(points) if options.pareto else state.frontier,
        evaluated=state.evaluated + len(chosen),
        pruned=pruned,
    )


def _worthwhile(
    state: Sweep, bound_s: FloatArray, memory: FloatArray, devices: IntArray, options: SweepOptions
) -> NDArray[np.bool_]:
    """Layouts that may still enter the ranking or the Pareto set."""
    values = objective_values(state.ranking.objective, bound_s, memory, devices)
    result: NDArray[np.bool_] = values <= state.ranking.worst
    if options.pareto:
        result = result | ~state.frontier.beaten(bound_s, memory, devices)
    return result
