"""What the engines execute: tasks on streams, dependencies, and transfers over links. Docs: docs/simulator.md.

A task starts when all its predecessors and the task before it on its stream have ended (a stream runs its tasks in the
order of ``position``, one at a time). COMPUTE and WAIT last ``seconds``; a TRANSFER first lasts ``latency_s``, then moves
its route's bytes: alone on the network it needs ``seconds`` for them, and longer where links are shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

NONE = -1


class TaskKind(IntEnum):
    """How a task takes time."""

    COMPUTE = 0
    TRANSFER = 1
    WAIT = 2


class What(IntEnum):
    """What a task is for."""

    FORWARD = 0
    BACKWARD = 1
    INPUT_GRADIENT = 2
    WEIGHT_GRADIENT = 3
    FORWARD_BACKWARD = 4
    OPTIMIZER = 5
    HOST = 6
    EXCHANGE = 7
    HOP = 8
    GATHER = 9
    REDUCE = 10
    TIED_REDUCE = 11
    OFFLOAD_OUT = 12
    OFFLOAD_IN = 13


@dataclass(frozen=True, eq=False)
class Tasks:
    """Columns of equal length.

    Args:
        kind: codes of ``TaskKind``.
        stream: index into ``Program.streams``; ``NONE``: runs as soon as its predecessors have ended.
        position: order within the stream (any ascending integers).
        seconds: duration; of a transfer without its latency, alone on the network.
        latency_s: of a transfer, else 0.
        route: index into ``Program.routes``; ``NONE``: loads no link (and then never shares).
        what: codes of ``What``.
        axis: index into ``jobs.prediction.EXPOSED_AXES`` for transfers, else ``NONE``.
        actor: the device (or class of devices that act alike) that runs it; of a hop the sender.
        stage, micro_batch: of passes and hops, else ``NONE``.
    """

    kind: Integers
    stream: Integers
    position: Integers
    seconds: Floats
    latency_s: Floats
    route: Integers
    what: Integers
    axis: Integers
    actor: Integers
    stage: Integers
    micro_batch: Integers

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, eq=False)
class Routes:
    """What transfers load: rows of (links, bytes) and the actors whose computation they slow, as ragged arrays.

    Row i owns ``link[start[i]:start[i+1]]`` with ``nbytes`` and ``member[member_start[i]:member_start[i+1]]``.
    """

    start: Integers
    link: Integers
    nbytes: Floats
    member_start: Integers
    member: Integers

    def __len__(self) -> int:
        return len(self.start) - 1


@dataclass(frozen=True, eq=False)
class Links:
    """One direction of one device's port into one network level (or into its host).

    Args:
        capacity: bytes/s.
        actor: owner.
        level: index of the network level, ``levels`` for the host link.
        outgoing: True for sending.
    """

    capacity: Floats
    actor: Integers
    level: Integers
    outgoing: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.capacity)


@dataclass(frozen=True)
class Stream:
    """A queue of one actor: ``compute``, or the name of what it moves (``tp``, ``dp``, ``pp``, ``offload``, ...)."""

    actor: int
    name: str


@dataclass(frozen=True, eq=False)
class Program:
    """Everything that happens in one step.

    Args:
        before, before_start: predecessors of task i are ``before[before_start[i]:before_start[i+1]]`` (the stream's
            previous task is not among them).
        slowdown: computation on an actor runs at 1 - slowdown times its speed while a transfer that it is a member of
            moves bytes.
        actors: how many.
    """

    tasks: Tasks
    before: Integers
    before_start: Integers
    routes: Routes
    links: Links
    streams: tuple[Stream, ...]
    actors: int
    slowdown: float = 0.0


@dataclass(frozen=True, eq=False)
class Execution:
    """When each task ran.

    Args:
        start, end: (tasks,), seconds. A transfer starts when it is posted: its latency lies inside.
        carried: (links,), bytes that the engine moved over each link, integrated over time.
    """

    start: Floats
    end: Floats
    carried: Floats

    @property
    def makespan_s(self) -> float:
        return float(self.end.max()) if len(self.end) else 0.0


class ProgramBuilder:
    """Collects tasks, edges and routes in blocks of arrays."""

    def __init__(self) -> None:
        self._room = _FIRST_ROOM
        self._columns: dict[str, NDArray[Any]] = {
            name: np.empty(self._room, dtype) for name, (dtype, _) in _COLUMNS.items()
        }
        self._count = 0
        self._edges: list[tuple[Integers, Integers]] = []
        self._streams: dict[Stream, int] = {}
        self._routes: dict[tuple[tuple[tuple[int, float], ...], tuple[int, ...]], int] = {}

    def stream(self, actor: int, name: str) -> int:
        """The index of a stream, made at first use."""
        return self._streams.setdefault(Stream(actor, name), len(self._streams))

    def route(self, loads: Sequence[tuple[int, float]], members: Sequence[int]) -> int:
        """The index of a route.

        Args:
            loads: (link, bytes) pairs; those without bytes are left out.
            members: actors whose computation the transfer slows.
        """
        kept = tuple((link, nbytes) for link, nbytes in loads if nbytes > 0)
        return self._routes.setdefault((kept, tuple(members)), len(self._routes))

    def add(self, count: int, **columns: object) -> Integers:
        """Append ``count`` tasks; columns are arrays of that length or scalars (what is left out is NONE or 0).

        Returns:
            their indices.
        """
        first, end = self._count, self._count + count
        self._make_room(end)
        for name, (_, default) in _COLUMNS.items():
            self._columns[name][first:end] = columns.pop(name, default)
        if columns:
            raise TypeError(f"no such column: {', '.join(columns)}")
        self._count = end
        return np.arange(first, end, dtype=np.int64)

    def _make_room(self, tasks: int) -> None:
        """Columns at least that long; doubled, so that appending stays linear in the number of tasks."""
        if tasks <= self._room:
            return
        self._room = max(2 * self._room, tasks)
        for name, old in self._columns.items():
            longer = np.empty(self._room, old.dtype)
            longer[: self._count] = old[: self._count]
            self._columns[name] = longer

    def after(self, tasks: object, before: object) -> None:
        """Let ``tasks`` wait for ``before``, element by element (broadcast); pairs with NONE are left out."""
        later, earlier = np.broadcast_arrays(np.asarray(tasks, np.int64), np.asarray(before, np.int64))
        keep = (later != NONE) & (earlier != NONE)
        self._edges.append((later[keep].ravel(), earlier[keep].ravel()))

    def build(self, links: Links, actors: int, slowdown: float = 0.0) -> Program:
        """The program."""
        columns: dict[str, Any] = {name: column[: self._count] for name, column in self._columns.items()}
        later = np.concatenate([pair[0] for pair in self._edges] or [np.zeros(0, np.int64)])
        earlier = np.concatenate([pair[1] for pair in self._edges] or [np.zeros(0, np.int64)])
        order = np.argsort(later, kind="stable")
        counts = np.bincount(later, minlength=self._count)
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Program(
            tasks=Tasks(**columns),
            before=earlier[order],
            before_start=start,
            routes=self._build_routes(),
            links=links,
            streams=tuple(self._streams),
            actors=actors,
            slowdown=slowdown,
        )

    def _build_routes(self) -> Routes:
        loads = [loads for loads, _ in self._routes]
        members = [members for _, members in self._routes]
        return Routes(
            start=_starts([len(row) for row in loads]),
            link=np.array([link for row in loads for link, _ in row], dtype=np.int64),
            nbytes=np.array([nbytes for row in loads for _, nbytes in row], dtype=np.float64),
            member_start=_starts([len(row) for row in members]),
            member=np.array([actor for row in members for actor in row], dtype=np.int64),
        )


def no_links() -> Links:
    """A network without links: transfers take their own time."""
    empty = np.zeros(0, dtype=np.int64)
    return Links(np.zeros(0), empty, empty, np.zeros(0, dtype=np.bool_))


def _starts(lengths: Sequence[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))]).astype(np.int64)


_FIRST_ROOM = 1024
"""Tasks that a builder has room for at first."""

_COLUMNS: dict[str, tuple[type[np.int64] | type[np.float64], float]] = {
    "kind": (np.int64, 0),
    "stream": (np.int64, NONE),
    "position": (np.int64, 0),
    "seconds": (np.float64, 0.0),
    "latency_s": (np.float64, 0.0),
    "route": (np.int64, NONE),
    "what": (np.int64, 0),
    "axis": (np.int64, NONE),
    "actor": (np.int64, NONE),
    "stage": (np.int64, NONE),
    "micro_batch": (np.int64, NONE),
}
