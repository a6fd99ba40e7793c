"""The engine with sharing: transfers that use the same links share them max-min fairly, and slow computation beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.errors import PlannerError
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.engine.order import durations, previous_on_stream
from planner.simulator.engine.world import make_world
from planner.simulator.program import (
    NONE,
    Execution,
    Floats,
    Links,
    Program,
    ProgramBuilder,
    Routes,
    TaskKind,
)


def run_shared(program: Program, *, owner: str = "device") -> Execution:
    """Run a program as events.

    After its latency a transfer moves the bytes of its route on all links at once. Its rate, in bytes/s of its most loaded
    link, is at most what it reaches alone (bytes / ``seconds``); rates of all transfers in flight are max-min fair
    (progressive filling), found anew whenever one joins or leaves, for those that share links with it directly or through
    others. While a transfer moves bytes its members' computation runs at 1 - slowdown.

    Args:
        owner: what an actor is called in error messages.

    Raises:
        PlannerError: a bad time, capacity or slow-down, or tasks that wait for each other in a circle.
    """
    from planner.simulator.engine.shared_kernel import run

    durations(program)
    _check(program)
    world = make_world(program, previous_on_stream(program))
    if run(world, program.slowdown) < len(program.tasks):
        return run_fixed(program, owner=owner)  # raises: the same tasks wait for each other there
    return Execution(
        start=world.task["start"].copy(), end=world.task["end"].copy(), carried=world.link["carried"].copy()
    )


def max_min_rates(routes: Routes, caps: Floats, capacity: Floats) -> Floats:
    """(routes,), the max-min fair rate of one flow on each route, in bytes/s of its most loaded link.

    Args:
        routes: what the flows load; only proportions count.
        caps: (routes,), the most that each flow can use, bytes/s of its most loaded link.
        capacity: (links,), bytes/s.
    """
    from planner.simulator.engine.shared_kernel import fill, join

    count, links = len(routes), len(capacity)
    builder = ProgramBuilder()
    builder.add(count, kind=TaskKind.TRANSFER, seconds=1.0, route=np.arange(count))
    none = np.zeros(links, dtype=np.int64)
    network = Links(np.asarray(capacity, dtype=np.float64), none, none, none.astype(np.bool_))
    program = replace(builder.build(network, 0), routes=routes)
    _check(program)
    world = make_world(program, np.full(count, NONE, dtype=np.int64))
    world.task["cap"] = caps
    for flow in range(count):
        join(world, flow)
    fill(world)
    used = np.diff(routes.start) > 0
    return np.where(used, world.levels.key[links:], caps)


def _check(program: Program) -> None:
    capacity = program.links.capacity
    if not (capacity > 0).all():
        raise PlannerError(
            f"found {capacity[~(capacity > 0)][0]:g} bytes/s; a link's capacity is above 0", field="links"
        )
    if not 0 <= program.slowdown < 1:
        raise PlannerError(
            f"found {program.slowdown:g}; accepted: 0 up to, not including, 1", field="slowdown"
        )
