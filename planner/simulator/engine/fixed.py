"""The engine without sharing: every task lasts its own time, so the execution is a longest path."""

from __future__ import annotations

import numpy as np

from planner.simulator.engine.order import deadlock, durations, previous_on_stream
from planner.simulator.program import NONE, Execution, Floats, Program


def run_fixed(program: Program, *, owner: str = "device") -> Execution:
    """Run a program as if no two transfers shared a link and computation were never slowed.

    Args:
        owner: what an actor is called in error messages.

    Raises:
        PlannerError: a negative or infinite time, or tasks that wait for each other in a circle.
    """
    from planner.simulator.engine.fixed_kernel import longest_path
    from planner.simulator.engine.jit import integers

    count = len(program.tasks)
    start, end = np.empty(count), np.empty(count)
    before_start, before = integers(program.before_start), integers(program.before)
    stuck = longest_path(durations(program), previous_on_stream(program), before_start, before, start, end)
    if stuck != NONE:
        cycle = [int(stuck)]
        while (waits_for := int(start[cycle[-1]])) != cycle[0]:
            cycle.append(waits_for)
        raise deadlock(program, cycle, owner)
    return Execution(start=start, end=end, carried=_carried(program))


def _carried(program: Program) -> Floats:
    routes = program.routes
    route = program.tasks.route
    uses = np.bincount(route[route != NONE], minlength=len(routes))
    loads = np.repeat(uses, np.diff(routes.start)) * routes.nbytes
    return np.bincount(routes.link, weights=loads, minlength=len(program.links)).astype(np.float64)
