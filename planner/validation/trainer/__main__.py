"""One process of a run: ``python -m planner.validation.trainer TIMED_STEPS FOLDER...``, under torchrun or alone."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.validation.processes.worker import joined, run_forked, run_worker
from planner.validation.trainer.results import SETTINGS
from planner.validation.trainer.settings import Settings

if TYPE_CHECKING:
    from planner.validation.structure.record import TracedCall
    from planner.validation.trainer.step import Trainer


def main(arguments: list[str]) -> None:
    """Train, count, time, and write the results of every run into its folder, each in a process of its own.

    Rank 0 prints a line for each step and, when a run ended, the name of its folder.

    Args:
        arguments: how many steps are timed (not in 64 bits), then folders with a ``settings.json`` each.
    """
    if len(arguments) < 2 or not arguments[0].isdigit():
        raise PlannerError("accepted: TIMED_STEPS FOLDER...", field="arguments")
    timed, folders = int(arguments[0]), [Path(name) for name in arguments[1:]]
    runs = [(_settings(folder), folder) for folder in folders]
    import planner.validation.trainer.step  # noqa: F401  once for all

    for settings, folder in runs:
        run_forked(partial(_join_and_run, settings, folder, 0 if settings.double else timed))


def _settings(folder: Path) -> Settings:
    file = folder / SETTINGS
    return Settings.from_json(file.read_text(encoding="utf-8"), file=file)


def _join_and_run(settings: Settings, folder: Path, timed: int) -> None:
    with joined(settings.world_size, settings.device, meeting=folder.name) as place:
        _run(settings, place.rank, folder, timed)
    if place.rank == 0:
        print(folder.name, flush=True)  # noqa: T201


def _run(settings: Settings, rank: int, folder: Path, timed: int) -> None:
    import torch

    from planner.validation.trainer.groups import make_groups
    from planner.validation.trainer.results import GRADIENTS, RankResult
    from planner.validation.trainer.step import Trainer

    groups = make_groups(settings, rank)
    trainer = Trainer(settings, groups)
    losses = tuple(_share(trainer, index) for index in range(settings.steps))
    torch.save(trainer.gradient_pieces(), folder / GRADIENTS.format(rank=rank))
    calls, peak = _counted(trainer, settings.steps)
    result = RankResult(
        rank=rank,
        pipeline_rank=groups.index("pp"),
        losses=losses,
        seconds=tuple(_seconds(trainer, settings.steps + 1 + index) for index in range(timed)),
        calls=calls,
        peak_bytes=peak,
        device=torch.cuda.get_device_name() if settings.device == "cuda" else "cpu",
        library=f"torch {torch.__version__}",
    )
    result.write(folder)


def _share(trainer: Trainer, index: int) -> float:
    """The rank's part of a step's loss; every tp rank knows the same one, the first counts it."""
    loss = trainer.step(index)
    if trainer.groups.rank == 0:
        print(f"step {index}", flush=True)  # noqa: T201
    return 0.0 if loss is None or trainer.groups.index("tp") else float(loss)


def _counted(trainer: Trainer, index: int) -> tuple[tuple[TracedCall, ...], int | None]:
    """Collectives of one step and, on a GPU, the most bytes allocated in it."""
    import torch

    from planner.validation.structure.calls import CallCounter
    from planner.validation.structure.record import TracedCall

    cuda = trainer.settings.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with CallCounter(trainer.groups.axis_of) as counter:
        trainer.step(index)
    calls = tuple(
        TracedCall(call.collective, call.axis, call.pass_, call.nbytes, count)
        for call, count in sorted(counter.calls.items())
    )
    return calls, torch.cuda.max_memory_allocated() if cuda else None


def _seconds(trainer: Trainer, index: int) -> float:
    """Of one step, from the moment at which all ranks are ready."""
    import torch
    from torch import distributed

    distributed.barrier()
    started = time.perf_counter()
    trainer.step(index)
    if trainer.settings.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    run_worker(main)
