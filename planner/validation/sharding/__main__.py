"""One process of real runs of shardings: ``python -m planner.validation.sharding FOLDER...``, under torchrun."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.validation.processes.worker import joined, run_forked, run_worker
from planner.validation.sharding.runs import ShardingRun

if TYPE_CHECKING:
    from planner.validation.sharding.source import Source


def main(arguments: list[str]) -> None:
    """Run every plan, each in a process of its own, and write what each rank saw; rank 0 prints a folder's name when done.

    Args:
        arguments: folders with a task each, all of one number of processes.
    """
    if not arguments:
        raise PlannerError("accepted: FOLDER...", field="arguments")
    import torch

    from planner.validation.sharding.source import open_source

    folders = [Path(name) for name in arguments]
    runs = [ShardingRun.read(folder) for folder in folders]
    sources: dict[tuple[str, tuple[str, ...], bool], Source] = {}
    for run, folder in zip(runs, folders, strict=True):
        key = (run.source, run.inputs, run.block)
        if key not in sources:  # once for all of its plans: exporting takes longer than running
            torch.manual_seed(0)  # a model that draws its weights draws the same on every rank
            sources[key] = open_source(run.source, run.inputs, block=run.block)
        run_forked(partial(_join_and_run, run, sources[key], folder))


def _join_and_run(run: ShardingRun, source: Source, folder: Path) -> None:
    from planner.validation.sharding.compare import compared

    with joined(math.prod(run.plan.mesh), meeting=folder.name) as place:
        compared(run, source).write(folder, place.rank)
    if place.rank == 0:
        print(folder.name, flush=True)  # noqa: T201


if __name__ == "__main__":
    run_worker(main)
