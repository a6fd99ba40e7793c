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
from typing import NoReturn

from planner.errors import PlannerError
from planner.validation.processes.agent import AGENT_PID
from planner.validation.processes.lifetime import die_with_parent

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
    try:
        main(sys.argv[1:])
    except BaseException as error:
        _tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(2 if isinstance(error, PlannerError) else 1)  # not through threads that wait for lost peers
    sys.exit(0)


@contextmanager
def joined(
    processes: int | None = None, device: str = "cpu", timeout_s: float = JOIN_TIMEOUT_S
) -> Iterator[Place]:
    """The default process group of torch.distributed (gloo on cpu, NCCL on cuda), one thread per process on cpu.

    Alone, without torchrun, a process forms a group of one.

    Args:
        processes: how many there must be; None for as many as were started.
        device: cpu or cuda.
        timeout_s: longest wait for other processes, here and in each collective.

    Raises:
        PlannerError: another number of processes was started, or the machine has fewer devices.
    """
    rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if processes is not None and count != processes:
        message = f"{count} process{'' if count == 1 else 'es'} started, the job needs {processes}"
        raise PlannerError(message, field="world size")
    import torch
    from torch import distributed
    from torch._C._distributed_c10d import HashStore

    place = Place(rank, count, _device(device))
    if device == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(place.device)
    backend = "nccl" if device == "cuda" else "gloo"
    wait = timedelta(seconds=timeout_s)
    if "MASTER_ADDR" in os.environ:
        distributed.init_process_group(backend, timeout=wait)
    else:
        distributed.init_process_group(backend, timeout=wait, store=HashStore(), rank=0, world_size=1)
    yield place
    distributed.destroy_process_group()


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
        Path(folder, f"rank-{rank}.json").write_text(json.dumps(told), encoding="utf-8")
