"""Independent pieces of work shared out among forked processes, which take the next piece when they are done."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from planner.errors import PlannerError

T = TypeVar("T")


def shared_out(work: Callable[[int], T], count: int, workers: int | None = None) -> Iterator[tuple[int, T]]:
    """(piece, result) of pieces 0 to ``count`` - 1, in the order in which they are done.

    Args:
        work: of one piece; children inherit what it refers to, only its results travel.
        workers: processes, None for one per core; one works in this process.

    Raises:
        PlannerError: a process ended before its work was done.
    """
    most = min(count, max(1, (os.cpu_count() or 1) if workers is None else workers))
    if most <= 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield from ((piece, work(piece)) for piece in range(count))
        return
    context = multiprocessing.get_context("fork")
    following = context.Value("i", 0)
    done = 0
    pipes: list[Connection] = []
    processes: list[Any] = []
    for _ in range(most):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_labour, args=(work, count, following, there), daemon=True)
        process.start()
        there.close()
        pipes.append(here)
        processes.append(process)
    try:
        while pipes:
            ready = wait(pipes)
            for pipe in [pipe for pipe in pipes if pipe in ready]:
                try:
                    answer = pipe.recv()
                except EOFError:  # this one has no more work
                    pipes.remove(pipe)
                    continue
                done += 1
                yield answer
        if done < count:
            raise PlannerError(f"a process ended early: {done} of {count} pieces of work are done")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _labour(work: Callable[[int], T], count: int, following: Any, answers: Connection) -> None:
    while True:
        with following.get_lock():
            piece = following.value
            following.value = piece + 1
        if piece >= count:
            break
        answers.send((piece, work(piece)))
