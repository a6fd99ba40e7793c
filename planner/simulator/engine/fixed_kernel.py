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
        if state[root] != NEW:
            continue
        depth = 0
        stack[0] = root
        state[root] = OPEN
        cursor[root] = before_start[root]
        start[root] = 0.0
        while depth >= 0:
            task = stack[depth]
            missing = -1
            queued = previous[task]
            if queued >= 0 and state[queued] != DONE:
                missing = queued
            at = cursor[task]
            stop = before_start[task + 1]
            ready = start[task]
            while missing < 0 and at < stop:
                earlier = before[at]
                if state[earlier] != DONE:
                    missing = earlier
                else:
                    ready = max(ready, end[earlier])
                    at += 1
            cursor[task] = at
            start[task] = ready
            if missing < 0:
                if queued >= 0:
                    ready = max(ready, end[queued])
                start[task] = ready
                end[task] = ready + duration[task]
                state[task] = DONE
                depth -= 1
            elif state[missing] == OPEN:
                for place in range(depth, -1, -1):
                    waiting = stack[place]
                    start[waiting] = missing if place == depth else stack[place + 1]
                    if waiting == missing:
                        break
                return missing
            else:
                depth += 1
                stack[depth] = missing
                state[missing] = OPEN
                cursor[missing] = before_start[missing]
                start[missing] = 0.0
    return -1
