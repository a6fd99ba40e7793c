"""The arrays that the event loop reads and writes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulator.program import NONE, Floats, Integers, Program, Routes, TaskKind

Array = NDArray[Any]

FASTEST = float(np.finfo(np.float64).max)
"""Cap, in bytes/s, of flows that need next to no time."""

_INT, _FLOAT = np.int64, np.float64
_TASK_INTEGERS = ("kind", "route", "actor", "following", "waits", "phase", "mark", "node", "ahead", "behind")
_TASK_FLOATS = ("seconds", "latency", "cap", "start", "end", "left", "since", "rate")
TASK = np.dtype([(name, _INT) for name in _TASK_INTEGERS] + [(name, _FLOAT) for name in _TASK_FLOATS])
LINK = np.dtype([("head", _INT), ("dirty", _INT), ("capacity", _FLOAT), ("carried", _FLOAT)])
NODE = np.dtype([(name, _INT) for name in ("flow", "link", "up", "down", "more")] + [("usage", _FLOAT)])
ACTOR = np.dtype([(name, _INT) for name in ("running", "transfers", "dirty")])


class Queue(NamedTuple):
    """Items by ascending key: a heap from index 1 on, its size at index 0; ``place`` 0 = not in it."""

    heap: Array
    place: Array
    key: Array


class World(NamedTuple):
    """State of a run.

    A *node* is one (flow, link) pair in use: each link strings its nodes from ``head`` by ``up`` and ``down``, each flow
    its own by ``more``; node 0 heads the free ones. ``links`` (whose flows have changed), ``flows`` (of their component)
    and ``actors`` (whose transfers have changed) are lists with their length at index 0. A flow's ``cap`` and rate are in
    bytes/s of its most loaded link (``route_peak`` bytes); ``route_usage`` is what the others get for each byte there.
    """

    task: Array
    link: Array
    node: Array
    actor: Array
    after_start: Array
    after: Array
    route_start: Array
    route_link: Array
    route_usage: Array
    route_peak: Array
    member_start: Array
    member: Array
    events: Queue
    levels: Queue
    links: Array
    flows: Array
    actors: Array


def make_world(program: Program, previous: Integers) -> World:
    """The state before the first event.

    Args:
        previous: (tasks,), the task before each one on its stream, else ``NONE``.
    """
    from planner.simulator.engine.jit import integers

    count, links, routes = len(program.tasks), len(program.links), program.routes
    after_start, after = _successors(program)
    usage, peak = _usage(routes)
    link = np.zeros(links, dtype=LINK)
    link["capacity"] = program.links.capacity
    actor = np.zeros(program.actors, dtype=ACTOR)
    actor["running"] = NONE
    return World(
        task=_tasks(program, previous, peak),
        link=link,
        node=_free_nodes(_most_in_use(program)),
        actor=actor,
        after_start=after_start,
        after=after,
        route_start=integers(routes.start),
        route_link=integers(routes.link),
        route_usage=usage,
        route_peak=peak,
        member_start=integers(routes.member_start),
        member=integers(routes.member),
        events=_queue(count),
        levels=_queue(links + count),
        links=np.zeros(links + 1, dtype=_INT),
        flows=np.zeros(count + 1, dtype=_INT),
        actors=np.zeros(program.actors + 1, dtype=_INT),
    )


def _tasks(program: Program, previous: Integers, peak: Floats) -> Array:
    given = program.tasks
    task = np.zeros(len(given), dtype=TASK)
    task["kind"], task["route"], task["actor"] = given.kind, given.route, given.actor
    task["seconds"], task["latency"] = given.seconds, given.latency_s
    task["following"] = NONE
    queued = np.flatnonzero(previous != NONE)
    task["following"][previous[queued]] = queued
    task["waits"] = np.diff(program.before_start) + (previous != NONE)
    task["start"] = task["end"] = np.nan
    flows = np.flatnonzero((given.kind == TaskKind.TRANSFER) & (given.route != NONE) & (given.seconds > 0))
    with np.errstate(over="ignore"):
        task["cap"][flows] = np.minimum(peak[given.route[flows]] / given.seconds[flows], FASTEST)
    return task


def _successors(program: Program) -> tuple[Integers, Integers]:
    count = len(program.tasks)
    later = np.repeat(np.arange(count, dtype=_INT), np.diff(program.before_start))
    order = np.argsort(program.before, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(program.before, minlength=count))]).astype(_INT)
    return start, later[order]


def _usage(routes: Routes) -> tuple[Floats, Floats]:
    """Bytes of each entry as a share of its route's largest, and that largest."""
    sizes = np.diff(routes.start)
    peak = np.zeros(len(routes))
    np.maximum.at(peak, np.repeat(np.arange(len(routes)), sizes), routes.nbytes)
    return routes.nbytes / np.repeat(np.where(peak > 0, peak, 1), sizes), peak


def _most_in_use(program: Program) -> int:
    """A bound on the (flow, link) pairs in use at once: one transfer per stream, and all that have no stream."""
    tasks = program.tasks
    sizes = np.diff(program.routes.start)
    flows = np.flatnonzero((tasks.kind == TaskKind.TRANSFER) & (tasks.route != NONE))
    size, stream = sizes[tasks.route[flows]], tasks.stream[flows]
    largest = np.zeros(len(program.streams) + 1, dtype=_INT)
    np.maximum.at(largest, stream[stream != NONE], size[stream != NONE])
    return int(largest.sum() + size[stream == NONE].sum())


def _free_nodes(count: int) -> Array:
    node = np.zeros(count + 1, dtype=NODE)
    node["more"][:-1] = np.arange(1, count + 1)
    return node


def _queue(items: int) -> Queue:
    return Queue(np.zeros(items + 1, dtype=_INT), np.zeros(items, dtype=_INT), np.zeros(items))
