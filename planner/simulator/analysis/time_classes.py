"""Which class every instant of an actor's step belongs to, and how long its pipeline idles. Docs: docs/simulator.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES, TimeBreakdown
from planner.simulator.analysis.columns import (
    PP,
    axis_of,
    compute_actor,
    expand,
    members_of,
    running_minimum,
    step_end,
)
from planner.simulator.engine.order import previous_on_stream
from planner.simulator.program import NONE, Execution, Floats, Integers, Program, TaskKind, What


@dataclass(frozen=True, eq=False)
class TimeClasses:
    """Seconds of every actor's step by class; per actor they add up to ``step_s``.

    Args:
        compute, optimizer, host, bubble: (actors,).
        exposed: (actors, axes), in the order of ``EXPOSED_AXES``.
        contention: (actors,), of compute: how much longer it took than its tasks last alone.
        first_start, last_end: (actors,), of the compute stream.
    """

    step_s: float
    compute: Floats
    optimizer: Floats
    host: Floats
    exposed: Floats
    bubble: Floats
    contention: Floats
    first_start: Floats
    last_end: Floats

    def breakdown(self, actor: int, recompute_s: float = 0.0) -> TimeBreakdown:
        """One actor's step in the shape that predictions use.

        Args:
            recompute_s: what of its computation is repeated forward work (the program does not tell).
        """
        return TimeBreakdown(
            compute_s=float(self.compute[actor]),
            optimizer_s=float(self.optimizer[actor]),
            exposed={name: float(self.exposed[actor, i]) for i, name in enumerate(EXPOSED_AXES)},
            host_s=float(self.host[actor]),
            bubble_s=float(self.bubble[actor]),
            of_which={"recompute_s": recompute_s, "contention_s": float(self.contention[actor])},
        )

    @property
    def busy(self) -> Floats:
        """(actors,), everything but waiting for other pipeline ranks: bubbles and exposed hops are idle time."""
        waiting = self.bubble + self.exposed[:, PP]
        return np.asarray(self.step_s - waiting, dtype=np.float64)

    @property
    def global_bubble_s(self) -> float:
        """The step less the busiest actor's busy time."""
        return float(self.step_s - self.busy.max()) if len(self.compute) else 0.0

    @property
    def rank_bubble(self) -> Floats:
        """(actors,), last end less first start less busy time: what an actor idles between its own first and last task."""
        outside = self.first_start + (self.step_s - self.last_end)
        return np.maximum(self.step_s - outside - self.busy, 0.0)


@dataclass(frozen=True, eq=False)
class Intervals:
    """Stretches of time of actors, by axis; columns of equal length."""

    actor: Integers
    axis: Integers
    start: Floats
    end: Floats


def time_classes(program: Program, execution: Execution) -> TimeClasses:
    """Classifies every instant of each actor's compute stream.

    Priority: compute, optimizer, exposed transfer, host wait, bubble. A gap before a task is exposed while a transfer that
    the task waits for, directly or through a queue of transfers, is in flight; the last to finish names the axis. After
    an actor's last task the transfers that it takes part in (but hops that it sent) are exposed.
    """
    tasks = program.tasks
    actor = compute_actor(program)
    mine = np.flatnonzero(actor != NONE)
    elapsed = execution.end[mine] - execution.start[mine]
    kind, what = tasks.kind[mine], tasks.what[mine]
    optimizer = (kind == TaskKind.COMPUTE) & (what == What.OPTIMIZER)
    compute = (kind == TaskKind.COMPUTE) & ~optimizer
    host = (kind == TaskKind.WAIT) & (what == What.HOST)

    def total(chosen: Integers | np.ndarray, values: Floats) -> Floats:
        sums = np.bincount(actor[mine][chosen], values[chosen], minlength=program.actors)
        return np.asarray(sums, dtype=np.float64)

    gaps = _gaps(program, execution, actor, mine)
    waits = _exposed(program, execution, gaps)
    exposed = np.zeros((program.actors, len(EXPOSED_AXES)))
    np.add.at(exposed, (waits.actor, waits.axis), waits.end - waits.start)
    moving = np.flatnonzero(kind == TaskKind.TRANSFER)
    np.add.at(exposed, (actor[mine][moving], axis_of(tasks)[mine][moving]), elapsed[moving])
    span = step_end(program, execution)
    sums = [total(chosen, elapsed) for chosen in (compute, optimizer, host)]
    first, last = np.full(program.actors, np.inf), np.zeros(program.actors)
    np.minimum.at(first, actor[mine], execution.start[mine])
    np.maximum.at(last, actor[mine], execution.end[mine])
    return TimeClasses(
        step_s=span,
        compute=sums[0],
        optimizer=sums[1],
        host=sums[2],
        exposed=exposed,
        bubble=np.maximum(span - sum(sums) - exposed.sum(axis=1), 0.0),
        contention=np.maximum(total(compute, elapsed - tasks.seconds[mine]), 0.0),
        first_start=np.where(np.isfinite(first), first, 0.0),
        last_end=last,
    )


@dataclass(frozen=True, eq=False)
class _Gaps:
    """Idle stretches of compute streams: whose, from when to when, and the task that ends each (``NONE``: none does)."""

    actor: Integers
    start: Floats
    end: Floats
    task: Integers


def _gaps(program: Program, execution: Execution, actor: Integers, mine: Integers) -> _Gaps:
    previous = previous_on_stream(program)[mine]
    before = np.where(previous == NONE, 0.0, execution.end[previous])
    last = np.zeros(program.actors)
    np.maximum.at(last, actor[mine], execution.end[mine])
    start = np.concatenate([before, last])
    end = np.concatenate([execution.start[mine], np.full(program.actors, step_end(program, execution))])
    task = np.concatenate([mine, np.full(program.actors, NONE)])
    owner = np.concatenate([actor[mine], np.arange(program.actors)])
    keep = np.flatnonzero(end > start)
    return _Gaps(owner[keep], start[keep], end[keep], task[keep])


def exposed_intervals(program: Program, execution: Execution) -> Intervals:
    """When compute streams waited for transfers in flight, each instant under the axis that names it."""
    actor = compute_actor(program)
    return _exposed(program, execution, _gaps(program, execution, actor, np.flatnonzero(actor != NONE)))


def _exposed(program: Program, execution: Execution, gaps: _Gaps) -> Intervals:
    gap, transfer = _awaited(program, execution, gaps)
    start = np.maximum(execution.start[transfer], gaps.start[gap])
    end = np.minimum(execution.end[transfer], gaps.end[gap])
    seen = np.flatnonzero(end > start)
    gap, transfer, start, end = gap[seen], transfer[seen], start[seen], end[seen]
    order = np.lexsort((transfer, -end, gap))
    gap, transfer, start, end = gap[order], transfer[order], start[order], end[order]
    # Later finishers cover everything from their earliest start on; an interval keeps what lies before that.
    covered = np.full(len(gap), np.inf)
    covered[1:] = np.where(gap[1:] == gap[:-1], running_minimum(start, gap)[:-1], np.inf)
    end = np.minimum(end, covered)
    own = np.flatnonzero(end > start)
    axis = axis_of(program.tasks)[transfer[own]]
    return Intervals(gaps.actor[gap[own]], axis, start[own], end[own])


def _awaited(program: Program, execution: Execution, gaps: _Gaps) -> tuple[Integers, Integers]:
    """Pairs (gap, transfer) of the transfers that each gap waits for."""
    tasks = program.tasks
    previous = previous_on_stream(program)
    moves = (tasks.kind == TaskKind.TRANSFER) & (axis_of(tasks) != NONE)
    inner = np.flatnonzero(gaps.task != NONE)
    owner, entry = expand(program.before_start, gaps.task[inner])
    gap, transfer = inner[owner], program.before[entry]
    found = [_trailing(program, execution, gaps, moves)]
    while len(gap):
        keep = moves[transfer] & (execution.end[transfer] > gaps.start[gap])
        pairs = np.unique(gap[keep] * len(tasks) + transfer[keep])
        gap, transfer = pairs // len(tasks), pairs % len(tasks)
        found.append((gap, transfer))
        owner, entry = expand(program.before_start, transfer)
        queued = np.flatnonzero(previous[transfer] != NONE)
        next_gap = np.concatenate([gap[owner], gap[queued]])
        transfer = np.concatenate([program.before[entry], previous[transfer[queued]]])
        gap = next_gap
    pairs = np.unique(np.concatenate([g * len(tasks) + t for g, t in found]))
    return pairs // len(tasks), pairs % len(tasks)


def _trailing(
    program: Program, execution: Execution, gaps: _Gaps, moves: np.ndarray
) -> tuple[Integers, Integers]:
    """What is still in flight after an actor's last task."""
    gap_of = np.full(program.actors, NONE, dtype=np.int64)
    last = np.flatnonzero(gaps.task == NONE)
    gap_of[gaps.actor[last]] = last
    if not len(last):
        return last, last
    late = execution.end > gaps.start[last].min()
    transfers = np.flatnonzero(moves & (program.tasks.what != What.HOP) & late)
    which, actor = members_of(program, transfers)
    keep = gap_of[actor] != NONE
    gap, transfer = gap_of[actor[keep]], transfers[which[keep]]
    ends_in = execution.end[transfer] > gaps.start[gap]
    return gap[ends_in], transfer[ends_in]
