"""A pipeline schedule run with given pass times and hops, without a network: makespan, bubbles, peak in flight."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from planner.errors import PlannerError
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.program import (
    NONE,
    Floats,
    Integers,
    Program,
    ProgramBuilder,
    TaskKind,
    What,
    no_links,
)
from planner.simulator.schedules.dependencies import FlatActions, dependencies, flatten
from planner.simulator.schedules.schedule import Kind, Schedule

_WHAT = {
    Kind.F: What.FORWARD,
    Kind.B: What.BACKWARD,
    Kind.I: What.INPUT_GRADIENT,
    Kind.W: What.WEIGHT_GRADIENT,
    Kind.OVERLAP_F_B: What.FORWARD_BACKWARD,
    Kind.SEND_F: What.HOP,
    Kind.RECV_F: What.HOP,
    Kind.SEND_B: What.HOP,
    Kind.RECV_B: What.HOP,
    Kind.UNSHARD: What.GATHER,
    Kind.RESHARD: What.GATHER,
    Kind.REDUCE_GRAD: What.REDUCE,
}


@dataclass(frozen=True, eq=False)
class PassSeconds:
    """Seconds of one pass of one virtual stage, each a scalar or broadcastable to (stages, units).

    Args:
        forward, backward, input_gradient, weight_gradient: of F, B, I, W.
        overlap: of a fused OVERLAP_F_B, by its forward half; None: F and B one after the other.
    """

    forward: ArrayLike
    backward: ArrayLike
    input_gradient: ArrayLike
    weight_gradient: ArrayLike
    overlap: ArrayLike | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            array = np.asarray(value, dtype=np.float64)
            bad = ~((array >= 0) & (array < np.inf))
            if bad.any():
                raise PlannerError(
                    f"found {array[bad].flat[0]:g}; pass times are finite and 0 or more", field=field.name
                )


@dataclass(frozen=True, eq=False)
class PipelineRun:
    """What running a schedule gave.

    Args:
        flat: the actions, in whose order ``start`` and ``end`` stand.
        busy_s: (ranks,), time of its passes.
        global_bubble_s: makespan less the time of the busiest rank's passes.
        rank_bubble_s: (ranks,), idle time between a rank's first and last pass.
        peak_in_flight: (ranks,), most activations held at once, in units of what one micro-batch leaves on all chunks
            of a rank.
        transfers: hops simulated as tasks of their own.
    """

    flat: FlatActions
    start: Floats
    end: Floats
    makespan_s: float
    busy_s: Floats
    global_bubble_s: float
    rank_bubble_s: Floats
    peak_in_flight: Floats
    transfers: int


def run_pipeline(
    schedule: Schedule, passes: PassSeconds, hop_s: float = 0.0, *, kept_after_input_gradient: float = 1.0
) -> PipelineRun:
    """Run a schedule: ranks work their lists strictly in order and wait for inputs.

    Args:
        hop_s: time of a message between ranks; any number travel at once.
        kept_after_input_gradient: share of a pass's activations that stays from its I until its W.

    Raises:
        PlannerError: a missing input, a deadlock (naming who waits for what), bad times, too many actions.
    """
    flat = flatten(schedule)
    program = _program(schedule, flat, passes, hop_s)
    execution = run_fixed(program, owner="rank")
    count = len(flat)
    start, end = execution.start[:count], execution.end[:count]
    busy, bubble = _rank_times(schedule.ranks, flat, start, end)
    makespan = float(end.max()) if count else 0.0
    return PipelineRun(
        flat=flat,
        start=start,
        end=end,
        makespan_s=makespan,
        busy_s=busy,
        global_bubble_s=makespan - float(busy.max(initial=0.0)),
        rank_bubble_s=bubble,
        peak_in_flight=_peak_in_flight(schedule, flat, kept_after_input_gradient),
        transfers=len(program.tasks) - count,
    )


def pipeline_program(schedule: Schedule, passes: PassSeconds, hop_s: float = 0.0) -> Program:
    """The tasks of a schedule: first one per action in the order of ``flatten``, then the hops.

    A rank is an actor with one stream. SEND ends at once; RECV is posted when its rank gets there, ends ``hop_s`` after
    both sides are ready, and keeps nobody waiting but the pass that needs it. UNSHARD, RESHARD, REDUCE_GRAD take no time.

    Raises:
        PlannerError: as ``run_pipeline``, but for deadlocks.
    """
    return _program(schedule, flatten(schedule), passes, hop_s)


def _program(schedule: Schedule, flat: FlatActions, passes: PassSeconds, hop_s: float) -> Program:
    if not 0 <= hop_s < np.inf:
        raise PlannerError(f"found {hop_s:g}; a hop takes a finite time of 0 or more", field="hop_s")
    builder = ProgramBuilder()
    streams = np.array([builder.stream(rank, "compute") for rank in range(schedule.ranks)], dtype=np.int64)
    receives = (flat.kind == Kind.RECV_F) | (flat.kind == Kind.RECV_B)
    explicit = bool(receives.any())
    tasks = builder.add(
        len(flat),
        kind=_task_kind()[flat.kind],
        stream=np.where(receives, NONE, streams[flat.rank]) if explicit else streams[flat.rank],
        position=flat.position,
        seconds=_seconds(schedule, flat, passes, hop_s),
        what=_what()[flat.kind],
        actor=flat.rank,
        stage=flat.stage,
        micro_batch=flat.micro_batch,
    )
    edges = dependencies(schedule, flat)
    in_order = ~edges.hop & (flat.position[edges.earlier] < flat.position[edges.later])
    if explicit:
        in_order &= ~receives[edges.earlier]
        builder.after(tasks[receives], _posted_after(flat, receives))
    apart = edges.hop & ~receives[edges.later] if hop_s > 0 else np.zeros_like(edges.hop)
    plain = ~(in_order | apart)
    builder.after(edges.later[plain], edges.earlier[plain])
    _add_hops(builder, flat, edges.later[apart], edges.earlier[apart], hop_s)
    return builder.build(no_links(), schedule.ranks)


def _add_hops(
    builder: ProgramBuilder, flat: FlatActions, receiver: Integers, sender: Integers, hop_s: float
) -> None:
    """A transfer between each sender and its receiver."""
    hops = builder.add(
        len(sender),
        kind=TaskKind.TRANSFER,
        seconds=hop_s,
        what=What.HOP,
        actor=flat.rank[sender],
        stage=flat.stage[sender],
        micro_batch=flat.micro_batch[sender],
    )
    builder.after(hops, sender)
    builder.after(receiver, hops)


def _posted_after(flat: FlatActions, receives: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Integers:
    """For each receive the last action before it on its rank that is none, else ``NONE``."""
    places = np.arange(len(flat), dtype=np.int64)
    last = np.maximum.accumulate(np.where(receives, NONE, places))[receives]
    same = (last != NONE) & (flat.rank[last] == flat.rank[receives])
    return np.where(same, last, NONE)


def _seconds(schedule: Schedule, flat: FlatActions, passes: PassSeconds, hop_s: float) -> Floats:
    """Seconds of every action."""
    given = {
        Kind.F: passes.forward,
        Kind.B: passes.backward,
        Kind.I: passes.input_gradient,
        Kind.W: passes.weight_gradient,
    }
    table = np.zeros(len(Kind))
    table[[Kind.RECV_F, Kind.RECV_B]] = hop_s
    for kind, value in given.items():
        table[kind] = np.asarray(value, dtype=np.float64).flat[0] if np.size(value) == 1 else 0.0
    seconds = table[flat.kind]
    for kind, value in given.items():
        if np.size(value) > 1:
            rows = np.flatnonzero(flat.kind == kind)
            seconds[rows] = _at(value, schedule, flat.stage[rows], flat.micro_batch[rows])
    rows = np.flatnonzero(flat.kind == Kind.OVERLAP_F_B)
    if len(rows):
        first = flat.stage[rows], flat.micro_batch[rows]
        if passes.overlap is not None:
            seconds[rows] = _at(passes.overlap, schedule, *first)
        else:
            second = _at(passes.backward, schedule, flat.stage2[rows], flat.micro_batch2[rows])
            seconds[rows] = _at(passes.forward, schedule, *first) + second
    return seconds


def _at(value: ArrayLike, schedule: Schedule, stage: Integers, unit: Integers) -> Floats:
    shape = (schedule.stages, schedule.micro_batches)
    array = np.asarray(value, dtype=np.float64)
    try:
        return np.broadcast_to(array, shape)[stage, unit]
    except ValueError:
        raise PlannerError(
            f"pass times of shape {array.shape}; accepted: a scalar, or broadcastable to (stages, units) = {shape}",
            field="passes",
        ) from None


def _rank_times(ranks: int, flat: FlatActions, start: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Busy time of each rank, and its idle time between its first and its last pass."""
    computes = flat.kind <= Kind.OVERLAP_F_B
    rank, begin, finish = flat.rank[computes], start[computes], end[computes]
    busy = np.bincount(rank, weights=finish - begin, minlength=ranks).astype(np.float64)
    first = np.full(ranks, np.inf)
    last = np.full(ranks, -np.inf)
    np.minimum.at(first, rank, begin)
    np.maximum.at(last, rank, finish)
    return busy, np.where(last >= first, last - first - busy, 0.0)


def _peak_in_flight(schedule: Schedule, flat: FlatActions, kept: float) -> Floats:
    """A rank works in order, so what it holds depends on the order alone."""
    if not 0 <= kept <= 1:
        raise PlannerError(f"found {kept:g}; accepted: 0 to 1", field="kept_after_input_gradient")
    gain, loss = np.zeros(len(Kind)), np.zeros(len(Kind))
    gain[[Kind.F, Kind.OVERLAP_F_B]] = 1
    loss[[Kind.B, Kind.OVERLAP_F_B, Kind.I, Kind.W]] = 1, 1, 1 - kept, kept
    held = np.cumsum(gain[flat.kind] - loss[flat.kind]) + loss[flat.kind]
    bounds = np.searchsorted(flat.rank, np.arange(schedule.ranks + 1))
    before = np.concatenate([[0.0], np.cumsum(gain[flat.kind] - loss[flat.kind])])[bounds]
    peak = np.array(
        [
            held[low:high].max(initial=base) - base
            for low, high, base in zip(bounds, bounds[1:], before, strict=False)
        ]
    )
    units = np.bincount(schedule.rank_of, weights=schedule.count, minlength=schedule.ranks)
    chunks = units / schedule.micro_batches
    return peak / np.maximum(chunks * schedule.slices, 1e-300)


def _task_kind() -> Integers:
    table = np.full(len(Kind), TaskKind.COMPUTE, dtype=np.int64)
    table[Kind.SEND_F :] = TaskKind.TRANSFER
    return table


def _what() -> Integers:
    return np.array([_WHAT[kind] for kind in Kind], dtype=np.int64)
