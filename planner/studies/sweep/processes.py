"""Worker processes on this machine, which may die without taking the sweep with them."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from planner.errors import PlannerError
from planner.jobs.shelf import Shelf
from planner.studies.sweep.batches import Batches, Numbered
from planner.studies.sweep.points import Settings
from planner.studies.sweep.rows import Answers, Row, failed, make_row, shown
from planner.studies.sweep.task import Task

LEAVE_S = 5.0
"""How long a worker that was told to end may take."""


def run_processes(task: Task, points: Sequence[Settings], workers: int) -> Answers:
    """The number and the row of each point, as they are ready.

    Each worker answers row by row, so when one dies (out of memory, killed) the point that it was at is known: its row says
    so, another worker takes its place and goes on with the rest.

    Raises:
        PlannerError: workers end before they begin.
    """
    workers = min(workers, len(points))
    batches = Batches(points, workers)
    pool = [_Worker(task) for _ in range(workers)]
    try:
        while busy := [worker for worker in pool if worker.hand(batches)]:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                if not worker.listen():
                    yield worker.fallen(batches)
                    pool[pool.index(worker)] = _Worker(task)
                elif worker.answered is not None:
                    batches.took(worker.answered[1]["seconds"])
                    yield worker.answered
    finally:
        for worker in pool:
            worker.end()


class _Worker:
    """One process, the points that it was given and has not answered, and its last answer."""

    def __init__(self, task: Task) -> None:
        # Forked processes would share this one's lock and threads.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.left: deque[Numbered] = deque()
        self.answered: tuple[int, Row] | None = None
        self._ready = False
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(task)

    def hand(self, batches: Batches) -> bool:
        """Give it more when it has nothing left; whether it has work."""
        if not self.left:
            self.left.extend(batches.next())
            if self.left:
                with contextlib.suppress(BrokenPipeError):  # it is dead, as listening will show
                    self.connection.send(list(self.left))
        return bool(self.left)

    def listen(self) -> bool:
        """Take its next message: that it is ready, or an answer. False: it is dead."""
        try:
            self.answered = self.connection.recv()
        except (EOFError, OSError):  # at an end, or within a message
            return False
        if self.answered is None:
            self._ready = True
        else:
            self.left.popleft()
        return True

    def fallen(self, batches: Batches) -> tuple[int, Row]:
        """The row of the point at which it died; the others are put back."""
        self.process.join(LEAVE_S)
        words = _words(self.process.exitcode)
        if not self._ready:
            raise PlannerError(f"a worker process cannot start: it {words}")
        number, settings = self.left.popleft()
        batches.put_back(list(self.left))
        self.end()
        message = f"the worker process {words} while it was at this point"
        return number, {**failed("error", message), **shown(settings), "seconds": None}

    def end(self) -> None:
        """Stop it."""
        self.connection.close()
        self.process.terminate()
        self.process.join(LEAVE_S)


def _words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _serve(connection: Connection[object, object]) -> None:
    """A worker: rows for points until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        task = connection.recv()
        assert isinstance(task, Task), "the first message"
        connection.send(None)
        shelf = Shelf()
        while True:
            batch = connection.recv()
            assert isinstance(batch, list), "all others"
            for number, settings in batch:
                connection.send((number, make_row(task, settings, shelf)))
