"""Small programs whose times are known by hand."""

from __future__ import annotations

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.program import (
    NONE,
    Execution,
    Links,
    Program,
    ProgramBuilder,
    TaskKind,
    What,
)
from planner.simulator.schedules.schedule import Actions, Kind, Schedule, one_chain


def axis(name: str) -> int:
    return EXPOSED_AXES.index(name)


def links(actors: int, capacities: tuple[float, ...]) -> Links:
    """For every actor and level one outgoing and one incoming link, in this order."""
    count = actors * len(capacities)
    return Links(
        capacity=np.repeat(np.tile(np.array(capacities), actors), 2),
        actor=np.repeat(np.arange(actors, dtype=np.int64), 2 * len(capacities)),
        level=np.repeat(np.tile(np.arange(len(capacities), dtype=np.int64), actors), 2),
        outgoing=np.tile(np.array([True, False]), count),
    )


def two_stages() -> tuple[Program, Execution, Schedule]:
    """Two stages, two micro-batches, forward 1 s, backward 2 s, hop 0.5 s (0.1 s of it latency), then 1 s of update.

    Rank 0: F0 0-1, F1 1-2, B0 5-7, B1 8.5-10.5, update 10.5-11.5; rank 1 (1F1B): F0 1.5-2.5, B0 2.5-4.5, F1 4.5-5.5,
    B1 5.5-7.5, update 7.5-8.5. The hop of B0 flies 4.5-5, that of B1 7.5-8; B1 on rank 0 is held up till 8.5 by a
    transfer on axis tp that flies 7-8.5. A gradient reduction of rank 1 (dp) flies 7.5-11.
    """
    builder = ProgramBuilder()
    network = links(2, (100.0,))
    streams = [builder.stream(rank, "compute") for rank in (0, 1)]
    rows = [
        (0, What.FORWARD, 0, 1.0), (0, What.FORWARD, 1, 1.0), (0, What.BACKWARD, 0, 2.0), (0, What.BACKWARD, 1, 2.0),
        (1, What.FORWARD, 0, 1.0), (1, What.BACKWARD, 0, 2.0), (1, What.FORWARD, 1, 1.0), (1, What.BACKWARD, 1, 2.0),
    ]  # fmt: skip
    passes = [
        int(builder.add(1, kind=TaskKind.COMPUTE, stream=streams[rank], position=place, seconds=seconds, what=what,
                        actor=rank, stage=rank, micro_batch=unit)[0])
        for place, (rank, what, unit, seconds) in enumerate(rows)
    ]  # fmt: skip
    updates = builder.add(
        2, kind=TaskKind.COMPUTE, stream=streams, position=99, seconds=1.0, what=What.OPTIMIZER, actor=[0, 1]
    )
    hops = [(0, 4, 0), (1, 6, 0), (5, 2, 1), (7, 3, 1)]
    for earlier, later, rank in hops:
        task = builder.add(
            1, kind=TaskKind.TRANSFER, stream=builder.stream(rank, "pp"), position=passes[earlier], seconds=0.4,
            latency_s=0.1, what=What.HOP, axis=axis("pp"), actor=rank, stage=rank, micro_batch=rows[earlier][2],
            route=builder.route([(2 * rank, 40.0), (2 * (1 - rank) + 1, 40.0)], [rank, 1 - rank]),
        )  # fmt: skip
        builder.after(task, passes[earlier])
        builder.after(passes[later], task)
    tensor = builder.add(
        1, kind=TaskKind.TRANSFER, seconds=1.5, what=What.EXCHANGE, axis=axis("tp"), actor=0, stage=0
    )
    builder.after(tensor, passes[2])
    builder.after(passes[3], tensor)
    reduce = builder.add(
        1, kind=TaskKind.TRANSFER, seconds=3.5, what=What.REDUCE, axis=axis("dp"), actor=1,
        stream=builder.stream(1, "dp"), route=builder.route([(2, 70.0), (3, 70.0)], [1]),
    )  # fmt: skip
    builder.after(reduce, passes[7])
    program = builder.build(network, actors=2)
    start = np.array([0, 1, 5, 8.5, 1.5, 2.5, 4.5, 5.5, 10.5, 7.5, 1, 2, 4.5, 7.5, 7, 7.5])
    end = np.array([1, 2, 7, 10.5, 2.5, 4.5, 5.5, 7.5, 11.5, 8.5, 1.5, 2.5, 5, 8, 8.5, 11])
    carried = np.array([80.0, 80.0, 150.0, 150.0])
    assert len(updates) == 2
    actions = (
        Actions.of([(Kind.F, 0, 0), (Kind.F, 0, 1), (Kind.B, 0, 0), (Kind.B, 0, 1)]),
        Actions.of([(Kind.F, 1, 0), (Kind.B, 1, 0), (Kind.F, 1, 1), (Kind.B, 1, 1)]),
    )
    schedule = one_chain("1f1b", np.array([0, 1]), 2, actions)
    return program, Execution(start.astype(float), end.astype(float), carried), schedule


def single(rows: list[tuple[str, TaskKind, What, float, float, str | None]]) -> tuple[Program, Execution]:
    """One actor; rows of (stream or "", kind, what, start, end, axis). A compute task waits for all earlier transfers."""
    builder = ProgramBuilder()
    transfers: list[int] = []
    for place, (stream, kind, what, start, end, name) in enumerate(rows):
        task = builder.add(
            1, kind=kind, stream=builder.stream(0, stream) if stream else NONE, position=place, seconds=end - start,
            what=what, axis=NONE if name is None else axis(name), actor=0, stage=0,
        )  # fmt: skip
        if kind == TaskKind.TRANSFER:
            transfers.append(int(task[0]))
        elif transfers:
            builder.after(task, transfers)
    program = builder.build(links(1, (1.0,)), actors=1)
    times = np.array([row[3:5] for row in rows], dtype=float)
    return program, Execution(times[:, 0], times[:, 1], np.zeros(2))
