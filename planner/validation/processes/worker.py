"""What every process of a job does first and last: join the others, and say why it failed.

A module that is started by ``launch.run_processes`` (or by torchrun itself) ends with
``if __name__ == "__main__": run_worker(main)``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from planner.documents.writing import write_text
from planner.errors import PlannerError
from planner.validation.processes.agent import AGENT_PID
from planner.validation.processes.lifetime import die_with_parent

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

ERRORS = "PLANNER_ERRORS"
"""Environment variable: folder where a process writes why it failed."""

JOIN_TIMEOUT_S = 50.0
"""A process that waits longer for the others than this gives up: a hang becomes an error within a minute."""


@dataclass(frozen=True)
class Place:
    """Where a process stands: its rank, how many there are, and its device (``cpu``, ``cuda:1``)."""

    rank: int
    world_size: int
    device: str


def run_worker(main: Callable[[list[str]], None]) -> NoReturn:
    """Run one process of a job to its end: its error goes to the launcher (or standard error), never into a hang.

    Args:
        main: takes the command line's arguments; what it raises is why the process failed.
    """
    agent = os.environ.get(AGENT_PID)
    die_with_parent(int(agent) if agent else None)
    _end(lambda: main(sys.argv[1:]))


def run_forked(task: Callable[[], None]) -> None:
    """Do ``task`` in a child of this process, which forgets everything that it did, and wait for it.

    PyTorch keeps process groups and what DTensor derived from them for as long as a process lives; a child per task
    starts clean, with all that this process has imported. This process must not have touched a GPU or started threads.
    When the child fails, this process ends as it did, and the child has said why.
    """
    parent = os.getpid()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        die_with_parent(parent)
        _end(task)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        os.kill(os.getpid(), -code)
    if code != 0:
        os._exit(code)


def _end(task: Callable[[], None]) -> NoReturn:
    """Do ``task`` and leave, not through threads that wait for lost peers."""
    code = 0
    try:
        task()
    except BaseException as error:
        _tell(error)
        code = 2 if isinstance(error, PlannerError) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def joined(
    processes: int | None = None, device: str = "cpu", timeout_s: float = JOIN_TIMEOUT_S, meeting: str = ""
) -> Iterator[Place]:
    """The default process group of torch.distributed (gloo on cpu, NCCL on cuda), one thread per process on cpu.

    Alone, without torchrun, a process forms a group of one.

    Args:
        processes: how many there must be; None for as many as were started.
        device: cpu or cuda.
        timeout_s: longest wait for other processes, here and in each collective.
        meeting: a name of its own for each time that the processes of one launch join.

    Raises:
        PlannerError: another number of processes was started, or the machine has fewer devices.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes is not None and count != processes:
        message = f"{count} process{'' if count == 1 else 'es'} started, the job needs {processes}"
        raise PlannerError(message, field="world size")
    import torch
    from torch import distributed

    place = Place(rank, count, _device(device))
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(place.device)
    backend = "nccl" if device == "cuda" else "gloo"
    wait = timedelta(seconds=timeout_s)
    store = _store(meeting, wait)
    distributed.init_process_group(backend, timeout=wait, store=store, rank=rank, world_size=count)
    yield place
    distributed.destroy_process_group()


def _store(meeting: str, wait: timedelta) -> Store:
    """Where the processes find each other: torchrun's store, or one of its own for a process alone."""
    from torch._C._distributed_c10d import HashStore, PrefixStore
    from torch.distributed.rendezvous import rendezvous

    if "MASTER_ADDR" not in os.environ:
        return HashStore()
    store, _, _ = next(rendezvous("env://", timeout=wait))
    return PrefixStore(meeting, store)


def _device(kind: str) -> str:
    if kind == "cpu":
        return kind
    import torch

    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise PlannerError(f"process {local} of this machine has no device: found {found}", field="device")
    return f"cuda:{local}"


def _tell(error: BaseException) -> None:
    """The reason, for the launcher's message; the traceback on standard error for everything but bad input."""
    text = str(error) if isinstance(error, PlannerError) else f"{type(error).__name__}: {error}"
    rank = os.environ.get("RANK", "0")
    if isinstance(error, PlannerError):
        print(f"error: rank {rank}: {text}", file=sys.stderr)  # noqa: T201
    else:
        import traceback

        traceback.print_exception(error)
    folder = os.environ.get(ERRORS)
    if folder:
        told = {"message": text, "bad_input": isinstance(error, PlannerError), "time": time.time()}
        write_text(
            Path(folder, f"rank-{rank}.json"), json.dumps(told)
        )  # whole, though it may be killed meanwhile
