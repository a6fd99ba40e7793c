"""One process of real runs of shardings: ``python -m planner.validation.sharding FOLDER...``, under torchrun."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

from planner.errors import PlannerError
from planner.validation.processes.worker import joined, run_forked, run_worker
from planner.validation.sharding.runs import ShardingRun


def main(arguments: list[str]) -> None:
    """Run every plan, each in a process of its own, and write what each rank saw; rank 0 prints a folder's name when done.

    Args:
        arguments: folders with a task each, all of one number of processes.
    """
    if not arguments:
        raise PlannerError("accepted: FOLDER...", field="arguments")
    import torch.distributed.tensor  # noqa: F401  once for all

    for folder in map(Path, arguments):
        run_forked(partial(_join_and_run, folder))


def _join_and_run(folder: Path) -> None:
    from planner.validation.sharding.compare import compared

    run = ShardingRun.read(folder)
    with joined(math.prod(run.plan.mesh), meeting=folder.name) as place:
        compared(run).write(folder, place.rank)
    if place.rank == 0:
        print(folder.name, flush=True)  # noqa: T201


if __name__ == "__main__":
    run_worker(main)
