"""What both engines need first: checked durations, and the task before each one on its stream."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.errors import PlannerError
from planner.simulator.program import NONE, Floats, Integers, Program, TaskKind, What

SHOWN = 8
"""Tasks of a deadlock that the message names."""

_PASSES = {
    What.FORWARD: "F",
    What.BACKWARD: "B",
    What.INPUT_GRADIENT: "I",
    What.WEIGHT_GRADIENT: "W",
    What.FORWARD_BACKWARD: "F and B",
}


def durations(program: Program) -> Floats:
    """Seconds of every task alone on the network, latency included.

    Raises:
        PlannerError: a time is negative or not finite.
        IndexError: a column points to what is not there (compiled code would not notice).
    """
    tasks = program.tasks
    _check_indices(program)
    for name, column in (("seconds", tasks.seconds), ("latency_s", tasks.latency_s)):
        good = (column >= 0) & (column < np.inf)
        if not good.all():
            at = int(np.argmin(good))
            raise PlannerError(
                f"{task_name(program, at)} has {name} {column[at]:g}; accepted: finite, 0 or more",
                field="simulation",
            )
    return np.ascontiguousarray(tasks.seconds + tasks.latency_s)


def previous_on_stream(program: Program) -> Integers:
    """(tasks,), the task before each one on its stream, else ``NONE``."""
    from planner.simulator.engine.fixed_kernel import stream_order
    from planner.simulator.engine.jit import integers

    tasks = program.tasks
    previous = np.empty(len(tasks), dtype=np.int64)
    stream, position = integers(tasks.stream), integers(tasks.position)
    if stream_order(stream, position, len(program.streams), previous):
        return previous
    order = np.lexsort((position, stream))
    same = (stream[order][1:] == stream[order][:-1]) & (stream[order][1:] != NONE)
    previous[:] = NONE
    previous[order[1:][same]] = order[:-1][same]
    return previous


def _check_indices(program: Program) -> None:
    tasks, routes = program.tasks, program.routes
    for name, column, least, count in (
        ("stream", tasks.stream, NONE, len(program.streams)),
        ("route", tasks.route, NONE, len(routes)),
        ("actor", tasks.actor, NONE, program.actors),
        ("before", program.before, 0, len(tasks)),
        ("link", routes.link, 0, len(program.links)),
        ("member", routes.member, 0, program.actors),
    ):
        if len(column) and not least <= column.min() <= column.max() < count:
            raise IndexError(f"{name} runs from {column.min()} to {column.max()}; there are {count}")


def task_name(program: Program, task: int, owner: str = "device") -> str:
    """A task in words: "F of stage 3, micro-batch 7 (rank 2)"."""
    tasks = program.tasks
    what = What(int(tasks.what[task]))
    text = _PASSES.get(what, what.name.lower().replace("_", " "))
    if TaskKind(int(tasks.kind[task])) == TaskKind.TRANSFER and what in _PASSES:
        text += " transfer"
    if tasks.stage[task] != NONE:
        text += f" of stage {tasks.stage[task]}"
    if tasks.micro_batch[task] != NONE:
        text += f", micro-batch {tasks.micro_batch[task]}"
    return f"{text} ({owner} {tasks.actor[task]})" if tasks.actor[task] != NONE else text


def deadlock(program: Program, cycle: Sequence[int], owner: str = "device") -> PlannerError:
    """The error that names the tasks of a cycle, each of which waits for the next.

    Args:
        cycle: tasks; the last one waits for the first.
        owner: what an actor is called.
    """
    queued = [
        _in_order(program, task, after) for task, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    ]
    # Of a run of tasks that only stand behind one another the two ends say enough.
    kept = [at for at in range(len(cycle)) if not (queued[at] and queued[at - 1])]
    text = task_name(program, cycle[kept[0]], owner)
    for at, after in zip(kept[:SHOWN], [*kept[1:], kept[0]], strict=False):
        relation = "stands behind" if queued[at] else "waits for"
        name = task_name(program, cycle[after], owner) if len(cycle) > 1 else "itself"
        text += f"{',' if at != kept[0] else ''} {'which ' if at != kept[0] else ''}{relation} {name}"
    if len(kept) > SHOWN:
        text += f", and so on ({len(kept) - SHOWN} more)"
    return PlannerError(f"deadlock: {text}", field="schedule")


def _in_order(program: Program, task: int, after: int) -> bool:
    """Whether a task waits for another one only because it stands behind it on their stream."""
    stream = program.tasks.stream
    needed = program.before[program.before_start[task] : program.before_start[task + 1]]
    return bool(stream[task] == stream[after] != NONE and after not in needed)
