"""Small programs written by hand or drawn at random."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from planner.simulator.program import Links, Program, ProgramBuilder, Routes, TaskKind

Load = tuple[int, float]

# Few distinct values, so that ties and simultaneous events are common.
DURATIONS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 3.0]) | st.floats(1e-3, 10)
BYTES = st.sampled_from([1.0, 2.0, 4.0]) | st.floats(0.1, 10)
CAPACITIES = st.sampled_from([1.0, 2.0, 5.0]) | st.floats(0.2, 20)


def links(capacity: Sequence[float]) -> Links:
    """Links that belong to nobody in particular."""
    nobody = np.zeros(len(capacity), dtype=np.int64)
    return Links(np.asarray(capacity, dtype=np.float64), nobody, nobody, nobody.astype(np.bool_))


def routes(rows: Sequence[Sequence[Load]]) -> Routes:
    """One route per row of (link, bytes), nobody's computation slowed."""
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    link = np.array([link for row in rows for link, _ in row], dtype=np.int64)
    nbytes = np.array([size for row in rows for _, size in row], dtype=np.float64)
    nobody = np.zeros(len(rows) + 1, dtype=np.int64)
    return Routes(start, link, nbytes, nobody, nobody[:0])


@st.composite
def loads(draw: st.DrawFn, count: int) -> list[Load]:
    """A route over distinct links out of ``count``; may be empty."""
    chosen = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count))
    return [(link, draw(BYTES)) for link in chosen]


@st.composite
def programs(draw: st.DrawFn, slowdown: float | None = None, endless: bool = False) -> Program:
    """Up to 14 tasks of all kinds; edges point from lower to higher indices, so there is no deadlock.

    Args:
        slowdown: None: drawn.
        endless: links of infinite capacity.
    """
    actors, count = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    builder = ProgramBuilder()
    for task in range(draw(st.integers(1, 14))):
        actor = draw(st.integers(0, actors - 1))
        kind = draw(st.sampled_from([TaskKind.COMPUTE, TaskKind.TRANSFER, TaskKind.TRANSFER, TaskKind.WAIT]))
        name = draw(st.sampled_from(["compute", "dp", ""]))
        route = -1
        if kind == TaskKind.TRANSFER and draw(st.booleans()):
            members = draw(st.lists(st.integers(0, actors - 1), unique=True))
            route = builder.route(draw(loads(count)), members)
        builder.add(
            1,
            kind=kind,
            actor=actor,
            stream=builder.stream(actor, name) if name else -1,
            position=task,
            seconds=draw(DURATIONS),
            latency_s=draw(DURATIONS) if kind == TaskKind.TRANSFER else 0.0,
            route=route,
        )
        for earlier in draw(st.lists(st.integers(0, task - 1), unique=True, max_size=3)) if task else []:
            builder.after(task, earlier)
    capacity = [np.inf if endless else draw(CAPACITIES) for _ in range(count)]
    share = draw(st.sampled_from([0.0, 0.25])) if slowdown is None else slowdown
    return builder.build(links(capacity), actors, share)


@st.composite
def crowds(draw: st.DrawFn) -> Program:
    """Three to eight transfers that start at different times and share a few links."""
    count = draw(st.integers(2, 4))
    builder = ProgramBuilder()
    for _ in range(draw(st.integers(3, 8))):
        row = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=2, unique=True))
        builder.add(
            1,
            kind=TaskKind.TRANSFER,
            seconds=draw(st.floats(0.5, 5)),
            latency_s=draw(st.floats(0, 5)),
            route=builder.route([(link, draw(BYTES)) for link in row], []),
        )
    return builder.build(links([draw(CAPACITIES) for _ in range(count)]), 0)


def route_bytes(program: Program) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """(links,), bytes that the program's transfers load on each link, summed one by one."""
    total = np.zeros(len(program.links))
    for route in program.tasks.route[program.tasks.route >= 0]:
        for entry in range(program.routes.start[route], program.routes.start[route + 1]):
            total[program.routes.link[entry]] += program.routes.nbytes[entry]
    return total


def queued_after(program: Program) -> list[list[int]]:
    """For every task all that must have ended before it starts, its stream's previous task included."""
    needed = [
        list(program.before[program.before_start[task] : program.before_start[task + 1]])
        for task in range(len(program.tasks))
    ]
    for stream in range(len(program.streams)):
        queue = sorted(
            np.flatnonzero(program.tasks.stream == stream), key=lambda task: program.tasks.position[task]
        )
        for earlier, later in itertools.pairwise(queue):
            needed[later].append(earlier)
    return needed
