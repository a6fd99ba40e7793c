"""Longest path over streams and edges, compiled. Import it inside functions only: numba takes long to load."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.simulator.engine.jit import jit

Array = NDArray[Any]

NEW, OPEN, DONE = 0, 1, 2


@jit
def stream_order(stream: Array, position: Array, streams: int, previous: Array) -> bool:  # pragma: no cover
    """The task before each one on its stream, if every stream's tasks stand in order; else False."""
    last = np.full(streams, -1, np.int64)
    for task in range(len(stream)):
        queue = stream[task]
        if queue < 0:
            previous[task] = -1
            continue
        before = last[queue]
        if before >= 0 and position[before] > position[task]:
            return False
        previous[task] = before
        last[queue] = task
    return True


@jit
def unmet(  # pragma: no cover
    task: int,
    previous: Array,
    before_start: Array,
    before: Array,
    state: Array,
    cursor: Array,
    start: Array,
    end: Array,
) -> int:
    """A predecessor of a task that has not run yet, else -1; ``start`` is raised to the ends of those that have."""
    queued: int = previous[task]
    if queued >= 0:
        if state[queued] != DONE:
            return queued
        start[task] = max(start[task], end[queued])
    while cursor[task] < before_start[task + 1]:
        earlier: int = before[cursor[task]]
        if state[earlier] != DONE:
            return earlier
        start[task] = max(start[task], end[earlier])
        cursor[task] += 1
    return -1


@jit
def longest_path(  # pragma: no cover
    duration: Array, previous: Array, before_start: Array, before: Array, start: Array, end: Array
) -> int:
    """Start and end of every task; depth first, so that no reversed edges are needed.

    Returns:
        -1, or a task on a cycle: then ``start`` of each task on the cycle holds the task that it waits for.
    """
    count = len(duration)
    state = np.zeros(count, np.int8)
    cursor = np.empty(count, np.int64)
    stack = np.empty(count, np.int64)
    for root in range(count):
        depth = -1
        missing = root if state[root] == NEW else -1
        while missing >= 0 or depth >= 0:
            if missing < 0:
                task = stack[depth]
                end[task] = start[task] + duration[task]
                state[task] = DONE
                depth -= 1
            elif state[missing] == OPEN:
                start[stack[depth]] = missing
                while stack[depth] != missing:
                    depth -= 1
                    start[stack[depth]] = stack[depth + 1]
                return missing
            else:
                depth += 1
                stack[depth] = missing
                state[missing] = OPEN
                cursor[missing] = before_start[missing]
                start[missing] = 0.0
            missing = -1
            if depth >= 0:
                missing = unmet(stack[depth], previous, before_start, before, state, cursor, start, end)
    return -1
