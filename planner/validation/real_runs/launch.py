"""Start the reference trainer for one layout of a job, and read back what its ranks wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from planner.documents import write_text
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.validation.processes.launch import run_processes
from planner.validation.trainer.results import GRADIENTS, SETTINGS, RunResult, ended, read_results
from planner.validation.trainer.settings import Settings, settings_of

if TYPE_CHECKING:
    from torch import Tensor

TRAINER = "planner.validation.trainer"
TIMEOUT_S = 300.0
"""Longest time without a step, the start included: collectives give up after 50 s, so that only a process that computes forever
gets here, or a start on a machine that is busy with something else."""


@dataclass(frozen=True)
class Finished:
    """One run: its settings, what its ranks wrote, and whole gradients of its last counted step by parameter."""

    settings: Settings
    result: RunResult
    gradients: dict[str, Tensor]


def run_all(
    runs: Sequence[Settings], *, timed: int = 0, timeout_s: float = TIMEOUT_S, port: int | None = None
) -> list[Finished]:
    """Run several settings one after the other, those of equal world size in one launch; see ``run_each``.

    Raises:
        PlannerError, NoAnswerError: of the first run that failed; see ``run_processes``.
    """
    finished = []
    for end in run_each(runs, timed=timed, timeout_s=timeout_s, port=port):
        if isinstance(end, PlannerError):
            raise end
        finished.append(end)
    return finished


def run_each(
    runs: Sequence[Settings],
    *,
    timed: int = 0,
    timeout_s: float = TIMEOUT_S,
    port: int | None = None,
    on_end: Callable[[int], None] | None = None,
) -> list[Finished | PlannerError]:
    """Run several settings one after the other, those of equal world size in one launch.

    A run that fails takes its launch along; those that are left are launched again.

    Args:
        timed: steps that are timed after the counted ones (not in 64-bit runs).
        timeout_s: longest time without a step.
        on_end: called with the index of each run that ended well.
    """
    ends: dict[int, Finished | PlannerError] = {}
    with tempfile.TemporaryDirectory(prefix="plan-run-") as name:
        folders = _written(runs, Path(name))
        for count in sorted({settings.world_size for settings in runs}):
            left = [index for index, settings in enumerate(runs) if settings.world_size == count]
            while left:
                here = [folders[index] for index in left]
                error = _launched(here, count, timed, timeout_s, port, on_end)
                well = len(list(takewhile(lambda folder: ended(folder, count), here)))  # noqa: B023
                ends |= {index: _finished(runs[index], folders[index]) for index in left[:well]}
                ends |= dict.fromkeys(left[well : well + 1], error)
                left = left[well + 1 :]
    return [ends[index] for index in range(len(runs))]


def _written(runs: Sequence[Settings], folder: Path) -> list[Path]:
    """A folder for each run, of its index, with its settings."""
    folders = [folder / str(index) for index in range(len(runs))]
    for settings, place in zip(runs, folders, strict=True):
        place.mkdir()
        write_text(place / SETTINGS, settings.to_json())
    return folders


def _launched(
    folders: Sequence[Path],
    count: int,
    timed: int,
    timeout_s: float,
    port: int | None,
    on_end: Callable[[int], None] | None,
) -> PlannerError:
    """One launch; why the first run without a result has none."""

    def hear(line: str) -> None:
        if on_end is not None and line.isdigit():
            on_end(int(line))

    arguments = [str(timed), *map(str, folders)]
    try:
        run_processes(TRAINER, arguments, count, timeout_s=timeout_s, port=port, on_line=hear)
    except PlannerError as error:
        return error
    return NoAnswerError("the processes ended without a result")


def single(job: Job, layout: Layout, **options: object) -> Settings:
    """The same training on one process, in 64 bits: what every layout must equal."""
    batch = job.training.global_batch
    alone = Layout(micro_batch=batch, axis_order=layout.axis_order)
    settings = settings_of(job, layout, double=True, **options)
    return replace(settings, layout=alone)


def _finished(settings: Settings, folder: Path) -> Finished:
    import torch

    from planner.validation.trainer.cuts import assemble

    count = settings.world_size
    files = [folder / GRADIENTS.format(rank=rank) for rank in range(count)]
    pieces = (piece for file in files for piece in torch.load(file, weights_only=False))
    return Finished(settings, read_results(folder, count), assemble(pieces))
