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
        if deed == "desert":
            _desert(place.rank)
        if deed == "sleep":
            Path(rest[0], str(os.getpid())).touch()
            time.sleep(120)
        total = torch.ones(3) * (place.rank + 1)
        distributed.all_reduce(total)
        if place.rank == 0:
            print("sum", total.tolist(), torch.get_num_threads(), file=sys.stdout)  # noqa: T201


def _desert(rank: int) -> None:
    """Rank 1 does not come to a sum over the trainer's own group of two."""
    from planner.validation.real_runs.cases import built_in
    from planner.validation.trainer import groups
    from planner.validation.trainer.exchange import all_reduce
    from planner.validation.trainer.settings import settings_of

    case = next(case for case in built_in() if case.name == "dp 2")
    groups.JOIN_TIMEOUT_S = 3.0
    group = groups.make_groups(settings_of(case.job, case.layout), rank).group("dp")
    if rank == 1:
        time.sleep(120)
    import torch

    assert group is not None
    all_reduce(torch.ones(3), group)


if __name__ == "__main__":
    run_worker(main)
