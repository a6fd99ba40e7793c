"""Ray as the engine: the same rows from actors on this machine or on a running cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any

from planner.errors import PlannerError
from planner.jobs.shelf import Shelf
from planner.studies.sweep.batches import Batches, Numbered
from planner.studies.sweep.points import Settings
from planner.studies.sweep.rows import Answers, Row, failed, make_row, shown
from planner.studies.sweep.task import Task

ANSWER_S = 10.0
"""How long a cluster may take to accept a connection."""

LOOK_S, PATIENCE_S = 5.0, 20.0
"""How often the head of a cluster is looked at while nothing comes, and for how long it may not answer. Ray itself waits for a
minute and then ends this process."""

STORE_BYTES = 100_000_000
"""Object store of a Ray that is started here: rows are small."""


class SweepActor:
    """A worker of Ray; it keeps what jobs are made of between portions."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._shelf = Shelf()

    def rows(self, batch: Sequence[Numbered]) -> list[tuple[int, Row]]:
        """The rows of some points."""
        return [(number, make_row(self._task, settings, self._shelf)) for number, settings in batch]


def run_ray(
    task: Task, points: Sequence[Settings], workers: int | None, address: str | None = None
) -> Answers:
    """The number and the row of each point, as they are ready.

    Args:
        workers: actors, each on one CPU; None: one for each CPU of Ray.
        address: of a running cluster (``auto``, ``ray://HOST:10001``, ``HOST:6379``); None: a Ray of its own on this machine,
            which ends with the sweep.

    Raises:
        PlannerError: Ray is not installed, cannot be reached or started, or has ended before the sweep.
    """
    before = signal.getsignal(signal.SIGTERM)
    ray = _started(workers, address)
    try:
        count = min(workers or int(ray.cluster_resources().get("CPU", 1)), len(points))
        yield from _run(ray, task, points, count, _head(ray, address))
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in place


def _started(workers: int | None, address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise PlannerError("Ray is not installed; pip install 'distributed-training-planner[ray]'") from None
    if address is not None:
        _require_listener(address)
    own: dict[str, Any] = {
        "num_cpus": workers,
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
    }
    where = own if address is None else {"address": address}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, ignore_reinit_error=True, **where)
    except Exception as error:  # Ray raises many kinds, all of which mean the same here
        words = " ".join(str(error).split())[:200]
        raise PlannerError(f"Ray cannot be {'started' if address is None else 'reached'}: {words}") from None
    return ray


def _require_listener(address: str) -> None:
    """Refuse an address where nothing listens; Ray would try for minutes."""
    if error := _silence(address):
        raise PlannerError(f"Ray cannot be reached at {address}: {error}")


def _silence(address: str) -> OSError | None:
    """Why nothing answers at an address; None where something does, and for names that Ray resolves, such as auto."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return None
    try:
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
    except OSError as error:
        return error
    return None


def _head(ray: Any, address: str | None) -> str:
    """Where the head of the cluster answers as long as it lives."""
    if address is not None and address.startswith("ray://"):
        return address
    return str(ray.get_runtime_context().gcs_address)


def _run(ray: Any, task: Task, points: Sequence[Settings], workers: int, head: str) -> Answers:
    remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(SweepActor)
    shared = ray.put(task)
    batches = Batches(points, workers)
    idle = [remote.remote(shared) for _ in range(workers)]
    running: dict[Any, tuple[Any, list[Numbered]]] = {}
    while True:
        while idle and (batch := batches.next()):
            actor = idle.pop()
            running[actor.rows.remote(batch)] = (actor, batch)
        if not running:
            return
        ready = _next(ray, list(running), head)
        actor, batch = running.pop(ready)
        try:
            rows = ray.get(ready)
        except ray.exceptions.RayActorError as error:
            idle.append(remote.remote(shared))
            if len(batch) > 1:
                batches.put_back(batch, alone=True)
            else:
                yield _fallen(batch[0], error)
            continue
        idle.append(actor)
        for number, row in rows:
            batches.took(row["seconds"])
            yield number, row


def _next(ray: Any, running: list[Any], head: str) -> Any:
    """The next portion that is ready.

    Raises:
        PlannerError: the head of the cluster is gone.
    """
    silent_s = 0.0
    while True:
        done, _ = ray.wait(running, num_returns=1, timeout=LOOK_S)
        if done:
            return done[0]
        error = _silence(head)
        silent_s = 0.0 if error is None else silent_s + LOOK_S
        if silent_s >= PATIENCE_S:
            raise PlannerError(
                f"Ray at {head} has ended before the sweep ({error}); rows that were ready are kept, "
                "the same command goes on from there"
            )


def _fallen(point: Numbered, error: Exception) -> tuple[int, Row]:
    number, settings = point
    words = f"the worker of Ray died while it was at this point: {error}"[:300]
    return number, {**failed("error", words), **shown(settings), "seconds": None}
