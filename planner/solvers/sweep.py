"""Goes through a space in order of lower bounds and keeps the best layouts and the Pareto set, exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.costs.evaluate import memory_totals, step_times
from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job, Objective
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.space.space import BLOCK_ROWS, Space
from planner.solvers.bounds import time_lower_bound
from planner.solvers.frontier import Frontier, Points
from planner.solvers.ranking import Ranking, objective_values

Progress = Callable[[float, str], None]


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
    job: Job, space: Space, options: SweepOptions, objective: Objective, progress: Progress | None = None
) -> Sweep:
    """The best layouts of a space with proof.

    Outer rows are visited in the order of their lower bounds. Memory of every visited layout is computed first; step
    time only of layouts that fit and whose bound could still enter the ranking or the Pareto set.
    """
    prices = price_model(job, space.outer)
    bound_s = time_lower_bound(job, space.outer, prices)
    devices = _devices(space.outer)
    bounds = objective_values(objective, bound_s, np.zeros_like(bound_s), devices)
    order = visiting_order(space, bounds, options.block_rows)
    order = order[bound_s[order] <= options.cutoff_s] if options.prune else order
    ahead = np.minimum.accumulate(bounds[order][::-1])[::-1]
    state = empty_sweep(objective, space, options.top)
    visited, outer_rows = 0, 0
    for group, layouts, owner in space.blocks(order, block_rows=options.block_rows):
        state = replace(state, lower_bound=min(float(ahead[outer_rows]), state.ranking.best))
        outer_rows += len(group)
        if _near_enough(state, options) or _late(options):
            break
        state = _visit(job, prices, layouts, bound_s[owner], options, state)
        visited += len(layouts)
        if progress is not None:
            progress(visited / max(space.size, 1), f"{visited:,} of {space.size:,} layouts")
    else:
        state = replace(state, lower_bound=state.ranking.best, finished=True)
    left = space.size - visited
    reason = "bound" if state.finished or _near_enough(state, options) else "time_limit"
    return replace(state, pruned={**state.pruned, reason: state.pruned.get(reason, 0) + left})


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
