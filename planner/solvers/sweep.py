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
from planner.solvers.frontier import Frontier, Points
from planner.solvers.memory_bound import memory_lower_bound
from planner.solvers.queue import Queue, devices_of, queue_of
from planner.solvers.ranking import Ranking, objective_values

Progress = Callable[[float, str], None]


_FIRST_ROWS = 1 << 13
"""Layouts of the first block; each one after it is four times as large. Good layouts found early rule others out."""

_OPENED_GROWTH, _OPENED_BLOCKS = 64, 64
"""Rows are opened to all meshes of their experts in portions: the first one of one block, each one after it so many times as
large, up to so many blocks. A portion is priced at once, which takes a tenth of a second however small it is."""


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
        finished: every layout that was come to was evaluated or dropped with proof.
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
    return Sweep(
        Ranking(objective, top, points), Frontier(points), 0, {"memory": 0, "bound": 0}, 0.0, finished=True
    )


def sweep_space(
    job: Job,
    space: Space,
    options: SweepOptions,
    objective: Objective,
    progress: Progress | None = None,
    prices: Prices | None = None,
) -> Sweep:
    """The best layouts of a space with proof.

    Outer rows are visited in the order of their lower bounds, for the Pareto set those first that no other beats by both bounds;
    those that bounds of time and memory rule out are not made.
    Memory of every visited layout is computed first; step time only of layouts that fit and whose bound could still enter
    the ranking or the Pareto set. Where the experts' mesh is inside, bounds that hold for all of its meshes come first.

    Args:
        prices: block prices that cover the space (they do not depend on the batch); computed here when None, and where the
            experts' mesh is inside.
    """
    search = _Search(job, options, objective, space.size, progress)
    if prices is None or space.closed:
        prices = price_model(job, space.outer, least=space.closed)
    queue = queue_of(job, space, prices, objective, options.block_rows)
    state = search.through(queue, prices, empty_sweep(objective, space, options.top))
    return replace(state, lower_bound=state.ranking.best) if state.finished else state


@dataclass(frozen=True)
class _Search:
    """What stays the same while a sweep goes on; ``size``: layouts of the whole space."""

    job: Job
    options: SweepOptions
    objective: Objective
    size: int
    progress: Progress | None

    def through(self, queue: Queue, prices: Prices, state: Sweep, beyond: float = np.inf) -> Sweep:
        """Goes through a queue to its end, or until it is near enough or late.

        Args:
            prices: that cover the queue's rows. beyond: bound of the objective of all that waits elsewhere.
        """
        options, closed = self.options, queue.space.closed
        state, queue = self._fitting(state, queue)
        if options.pareto:
            queue = queue.front_first()
        size = options.block_rows if closed or len(state.ranking.points) else _FIRST_ROWS
        while len(queue):
            waiting = min(queue.least(self.objective), beyond)
            state = replace(state, lower_bound=min(waiting, state.ranking.best))
            if _near_enough(state, options) or _late(options):
                state = replace(state, finished=False)
                break
            state, queue = self._worth(state, queue)
            limit = options.block_rows * (_OPENED_BLOCKS if closed else 1)
            portion, queue = queue.first(min(size, limit))
            if closed:
                elsewhere = min(queue.least(self.objective), beyond)
                state, size = self._opened(state, queue, portion, prices, elsewhere), _OPENED_GROWTH * size
            else:
                state, size = self._blocks(state, queue, portion, prices), 4 * size
            self._report(state)
            if not state.finished:
                break
        reason = "bound" if _near_enough(state, options) else "time_limit"
        return _pruned(state, reason, queue.layouts)

    def _opened(self, state: Sweep, queue: Queue, rows: IntArray, least: Prices, beyond: float) -> Sweep:
        """Goes through all meshes of the experts under some rows of a queue.

        Args:
            least: prices over all meshes of the experts, which blocks without experts keep. beyond: as ``through``.
        """
        job = self.job
        space, owner = queue.space.opened(rows)
        memory = memory_lower_bound(job, space, least)
        rough = Queue(space, queue.time_s[owner], memory, queue.devices[owner], np.arange(len(owner)))
        state, rough = self._fitting(state, rough)
        state, rough = self._worth(state, rough)
        if not len(rough):
            return state
        space = space.take(rough.left)
        prices = price_model(job, space.outer, known=least)
        return self.through(
            queue_of(job, space, prices, self.objective, self.options.block_rows), prices, state, beyond
        )

    def _blocks(self, state: Sweep, queue: Queue, rows: IntArray, prices: Prices) -> Sweep:
        """Evaluates the layouts under some rows of a queue."""
        for _, layouts, owner in queue.space.blocks(rows, block_rows=self.options.block_rows):
            state = _visit(self.job, prices, layouts, queue.time_s[owner], self.options, state)
        return state

    def _fitting(self, state: Sweep, queue: Queue) -> tuple[Sweep, Queue]:
        """The rows that may hold a layout that fits and is of interest."""
        if not self.options.prune:
            return state, queue
        state, queue = _kept(state, queue, queue.bounds[0] <= self.options.cutoff_s, "bound")
        none = np.zeros(len(queue))
        return _kept(state, queue, fits(self.job, queue.bounds[1], none, none), "memory")

    def _worth(self, state: Sweep, queue: Queue) -> tuple[Sweep, Queue]:
        """The rows that may hold a layout of the ranking or the Pareto set."""
        if not self.options.prune:
            return state, queue
        return _kept(state, queue, _worthwhile(state, *queue.bounds, self.options), "bound")

    def _report(self, state: Sweep) -> None:
        if self.progress is not None:
            done = state.evaluated + sum(state.pruned.values())
            self.progress(done / max(self.size, 1), f"{done:,} of {self.size:,} layouts")


def _kept(state: Sweep, queue: Queue, keep: NDArray[np.bool_], reason: str) -> tuple[Sweep, Queue]:
    """The queue of the rows that are kept; all layouts under the others are counted as pruned."""
    smaller = queue.keep(keep)
    return _pruned(state, reason, queue.layouts - smaller.layouts), smaller


def _pruned(state: Sweep, reason: str, layouts: int) -> Sweep:
    """Counts layouts that were dropped."""
    if not layouts:
        return state
    return replace(state, pruned={**state.pruned, reason: state.pruned.get(reason, 0) + layouts})


def _near_enough(state: Sweep, options: SweepOptions) -> bool:
    if options.gap <= 0 and options.pareto:
        return False
    goal = state.ranking.best * (1.0 - options.gap) if options.gap > 0 else state.ranking.worst
    return options.prune and len(state.ranking.points) > 0 and state.lower_bound > goal


def _late(options: SweepOptions) -> bool:
    return options.deadline_s is not None and time.monotonic() >= options.deadline_s


def _visit(
    job: Job, prices: Prices, layouts: Layouts, bound_s: FloatArray, options: SweepOptions, state: Sweep
) -> Sweep:
    """Evaluates one block."""
    memory = memory_totals(job, layouts, prices)
    devices = devices_of(layouts)
    keep: NDArray[np.bool_] = memory.fits
    if options.prune:
        keep = keep & _worthwhile(state, bound_s, memory.device_used_bytes, devices, options)
    chosen = np.flatnonzero(keep)
    fitting = int(np.count_nonzero(memory.fits))
    state = _pruned(_pruned(state, "memory", len(layouts) - fitting), "bound", fitting - len(chosen))
    if not len(chosen):
        return state
    rows = layouts.take(chosen)
    points = Points(rows, step_times(job, rows, prices), memory.device_used_bytes[chosen], devices[chosen])
    points = points.take(points.time_s <= options.cutoff_s)
    return replace(
        state,
        ranking=state.ranking.add(points),
        frontier=state.frontier.add(points) if options.pareto else state.frontier,
        evaluated=state.evaluated + len(chosen),
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
