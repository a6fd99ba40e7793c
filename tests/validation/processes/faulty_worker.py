"""A worker for tests: joins the others, then does what its argument says on rank 1 (or on all)."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from planner.errors import PlannerError
from planner.validation.processes.worker import joined, run_worker


def main(arguments: list[str]) -> None:
    deed, *rest = arguments
    with joined(processes=int(rest[0]) if deed == "expect" else None) as place:
        import torch
        from torch import distributed

        if place.rank == 1 and deed == "raise":
            raise ValueError("the moon is full")
        if place.rank == 1 and deed == "refuse":
            raise PlannerError("no such thing", field="layout.tp")
        if place.rank == 1 and deed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "sleep":
            Path(rest[0], str(os.getpid())).touch()
            time.sleep(120)
        total = torch.ones(3) * (place.rank + 1)
        distributed.all_reduce(total)
        if place.rank == 0:
            print("sum", total.tolist(), torch.get_num_threads(), file=sys.stdout)  # noqa: T201


if __name__ == "__main__":
    run_worker(main)
