"""Where a trace shows every task: slices on tracks on which nothing overlaps, and the arrows of hops between them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.analysis.columns import (
    COMPUTE_STREAM,
    axis_of,
    compute_actor,
    expand,
    members_of,
    successors,
)
from planner.simulator.program import NONE, Execution, Integers, Program, TaskKind, What

TRACK_ORDER = (COMPUTE_STREAM, *EXPOSED_AXES)


@dataclass(frozen=True)
class Track:
    """One row of a trace: a stream of an actor; ``lane`` counts rows of what overlaps on it."""

    actor: int
    name: str
    lane: int

    @property
    def title(self) -> str:
        return self.name if self.lane == 0 else f"{self.name} ({self.lane + 1})"


@dataclass(frozen=True, eq=False)
class Slices:
    """What is drawn where; columns of equal length, ordered by track and start.

    Args:
        task: index of the task; one that several actors take part in has a slice at each.
        track: index into ``tracks``.
        start_ns, end_ns: whole nanoseconds. Equal times stay equal, so slices of a track never overlap.
    """

    tracks: tuple[Track, ...]
    task: Integers
    track: Integers
    start_ns: Integers
    end_ns: Integers

    def __len__(self) -> int:
        return len(self.task)


@dataclass(frozen=True, eq=False)
class Arrows:
    """A hop's way: the slice that gives (``NONE``: none), the hop's own slice, the slice that takes."""

    giver: Integers
    hop: Integers
    taker: Integers

    def __len__(self) -> int:
        return len(self.hop)


def slices(program: Program, execution: Execution) -> Slices:
    """All tasks that take time, on tracks."""
    start = np.rint(execution.start * 1e9).astype(np.int64)
    end = np.rint(execution.end * 1e9).astype(np.int64)
    task, actor, name = _places(program, np.flatnonzero(end > start))
    order = np.lexsort((end[task], start[task], name, actor))
    task, actor, name = task[order], actor[order], name[order]
    names = _track_names(program)
    key = actor * len(names) + name
    bounds = np.flatnonzero(np.diff(key, prepend=NONE, append=NONE))
    lanes = np.zeros(len(task), dtype=np.int64)
    tracks: list[Track] = []
    first_track = np.zeros(len(task), dtype=np.int64)
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        mine = task[low:high]
        lanes[low:high] = _lanes(start[mine], end[mine])
        first_track[low:high] = len(tracks)
        count = int(lanes[low:high].max()) + 1
        tracks += [Track(int(actor[low]), names[int(name[low])], lane) for lane in range(count)]
    track = first_track + lanes
    order = np.lexsort((start[task], track))
    task, track = task[order], track[order]
    return Slices(tuple(tracks), task, track, start[task], end[task])


def _track_names(program: Program) -> list[str]:
    others = sorted({stream.name for stream in program.streams} - set(TRACK_ORDER))
    return [*TRACK_ORDER, *others, "transfers"]


def _places(program: Program, shown: Integers) -> tuple[Integers, Integers, Integers]:
    """(task, actor, track name) of every slice: transfers appear at all members, hops at their sender."""
    tasks, names = program.tasks, _track_names(program)
    stream_name = np.array([*(names.index(s.name) for s in program.streams), NONE], dtype=np.int64)
    by_axis = np.array([*(names.index(axis) for axis in EXPOSED_AXES), len(names) - 1], dtype=np.int64)
    name = np.where(tasks.stream != NONE, stream_name[tasks.stream], by_axis[axis_of(tasks)])
    moved = tasks.kind[shown] == TaskKind.TRANSFER
    spread = shown[moved & (tasks.what[shown] != What.HOP)]
    own = shown[~np.isin(shown, spread)]
    which, actor = members_of(program, spread)
    runs_on = np.where(compute_actor(program) != NONE, compute_actor(program), tasks.actor)
    task = np.concatenate([own, spread[which]])
    return task, np.concatenate([runs_on[own], actor]), name[task]


def _lanes(start: Integers, end: Integers) -> Integers:
    """The lowest row for each slice, sorted by start, on which it overlaps nothing."""
    if np.all(start[1:] >= np.maximum.accumulate(end)[:-1]):
        return np.zeros(len(start), dtype=np.int64)
    lanes = np.empty(len(start), dtype=np.int64)
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    used = 0
    for place, (begin, finish) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            heapq.heappush(free, used)
            used += 1
        lane = heapq.heappop(free)
        lanes[place] = lane
        heapq.heappush(busy, (finish, lane))
    return lanes


def arrows(program: Program, execution: Execution, drawn: Slices) -> Arrows:
    """One arrow per drawn hop, from the computation that ended before it to the computation that begins after it."""
    tasks = program.tasks
    hops = np.flatnonzero(tasks.what[drawn.task] == What.HOP)
    task = drawn.task[hops]
    actor = compute_actor(program)
    owner, entry = expand(program.before_start, task)
    giver = np.full(len(task), NONE, dtype=np.int64)
    _keep_computing(giver, owner, program.before[entry], actor)
    first, later = successors(program)
    owner, entry = expand(first, task)
    taker = np.full(len(task), NONE, dtype=np.int64)
    _keep_computing(taker, owner, later[entry], actor)
    end = np.rint(execution.end * 1e9).astype(np.int64)
    start = np.rint(execution.start * 1e9).astype(np.int64)
    return Arrows(
        _neighbour(drawn, giver, actor, end, before=True),
        hops,
        _neighbour(drawn, taker, actor, start, before=False),
    )


def _keep_computing(target: Integers, owner: Integers, task: Integers, actor: Integers) -> None:
    keep = actor[task] != NONE
    target[owner[keep]] = task[keep]


def _neighbour(drawn: Slices, task: Integers, actor: Integers, time: Integers, *, before: bool) -> Integers:
    """The compute slice of each task's actor that ends at the task's end or last before it, or begins from its start on.

    The task itself may take no time and then has no slice.
    """
    result = np.full(len(task), NONE, dtype=np.int64)
    known = np.flatnonzero(task != NONE)
    for index, track in enumerate(drawn.tracks):
        if track.name != COMPUTE_STREAM or track.lane:
            continue
        mine = known[actor[task[known]] == track.actor]
        low, high = np.searchsorted(drawn.track, [index, index + 1])
        starts = drawn.start_ns[low:high]
        if before:
            place = np.searchsorted(starts, time[task[mine]], side="left") - 1
        else:
            place = np.searchsorted(starts, time[task[mine]], side="left")
        inside = (place >= 0) & (place < high - low)
        result[mine[inside]] = low + place[inside]
    return result
