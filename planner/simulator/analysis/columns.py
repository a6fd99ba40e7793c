"""Small array operations that every analysis of a program needs."""

from __future__ import annotations

import numpy as np

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.program import NONE, Execution, Floats, Integers, Program, Tasks, What

COMPUTE_STREAM = "compute"
PP = EXPOSED_AXES.index("pp")


def axis_of(tasks: Tasks) -> Integers:
    """(tasks,), index into ``EXPOSED_AXES``, ``NONE`` for what moves nothing; hops are pp even where unnamed."""
    unnamed = (tasks.what == What.HOP) & (tasks.axis == NONE)
    return np.where(unnamed, PP, tasks.axis)


def expand(start: Integers, rows: Integers) -> tuple[Integers, Integers]:
    """Ragged rows written out.

    Args:
        start: row i owns entries start[i] .. start[i + 1] - 1.
        rows: which rows are wanted; a row may come several times.

    Returns:
        index into ``rows`` and index of the entry, one pair per entry.
    """
    counts = start[rows + 1] - start[rows]
    owner = np.repeat(np.arange(len(rows), dtype=np.int64), counts)
    offset = np.arange(len(owner), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return owner, start[rows][owner] + offset


def compute_actor(program: Program) -> Integers:
    """(tasks,), the actor whose compute stream runs the task, ``NONE`` for tasks that run elsewhere."""
    names = [stream.actor if stream.name == COMPUTE_STREAM else NONE for stream in program.streams]
    return np.array([*names, NONE], dtype=np.int64)[program.tasks.stream]


def last_task(program: Program, execution: Execution) -> int:
    """The task whose end is the end of the step: the last computation; messages may fly on that nobody waits for."""
    computing = np.flatnonzero(compute_actor(program) != NONE)
    if not len(computing):
        return int(np.argmax(execution.end)) if len(program.tasks) else NONE
    return int(computing[np.argmax(execution.end[computing])])


def step_end(program: Program, execution: Execution) -> float:
    """Seconds from the start of the step to its end (see ``last_task``)."""
    task = last_task(program, execution)
    return 0.0 if task == NONE else float(execution.end[task])


def members_of(program: Program, transfers: Integers) -> tuple[Integers, Integers]:
    """Who takes part in transfers: pairs (index into ``transfers``, actor).

    The members of a transfer's route; without a route or members, its own actor.
    """
    tasks, routes = program.tasks, program.routes
    route = tasks.route[transfers]
    routed = np.flatnonzero(route != NONE)
    owner, entry = expand(routes.member_start, route[routed])
    which, actor = routed[owner], routes.member[entry]
    lone = np.setdiff1d(np.arange(len(transfers)), which)
    return np.concatenate([which, lone]), np.concatenate([actor, tasks.actor[transfers[lone]]])


def running_minimum(values: Floats, group: Integers) -> Floats:
    """Least value so far within each group; groups are consecutive and ascending."""
    if not len(values):
        return values
    order = np.argsort(values, kind="stable")
    place = np.empty(len(values), dtype=np.int64)
    place[order] = np.arange(len(values))
    # A later group's keys lie below all earlier ones, so the accumulation starts anew with each group.
    key = place - group * len(values)
    least = np.minimum.accumulate(key) + group * len(values)
    return values[order[least]]


def successors(program: Program) -> tuple[Integers, Integers]:
    """The tasks that wait for each task: those of task i are ``later[start[i]:start[i + 1]]``."""
    later = np.repeat(np.arange(len(program.tasks), dtype=np.int64), np.diff(program.before_start))
    order = np.argsort(program.before, kind="stable")
    counts = np.bincount(program.before, minlength=len(program.tasks))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), later[order]
