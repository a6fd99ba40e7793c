"""Start the reference trainer for one layout of a job, and read back what its ranks wrote."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.validation.processes.launch import run_processes
from planner.validation.trainer.results import GRADIENTS, SETTINGS, RunResult, read_results
from planner.validation.trainer.settings import Settings, settings_of

if TYPE_CHECKING:
    from torch import Tensor

TRAINER = "planner.validation.trainer"
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Finished:
    """One run: its settings, what its ranks wrote, and whole gradients of its last counted step by parameter."""

    settings: Settings
    result: RunResult
    gradients: dict[str, Tensor]


def run_all(
    runs: Sequence[Settings],
    *,
    timed: int = 0,
    timeout_s: float = TIMEOUT_S,
    port: int | None = None,
    on_line: Callable[[str], None] | None = None,
) -> list[Finished]:
    """Run several settings of equal world size one after the other in the same processes.

    Args:
        timed: steps that are timed after the counted ones (not in 64-bit runs).

    Raises:
        PlannerError, NoAnswerError: see ``run_processes``.
    """
    with tempfile.TemporaryDirectory(prefix="plan-run-") as name:
        folders = [Path(name, str(index)) for index in range(len(runs))]
        for settings, folder in zip(runs, folders, strict=True):
            folder.mkdir()
            (folder / SETTINGS).write_text(settings.to_json(), encoding="utf-8")
        arguments = [str(timed), *map(str, folders)]
        run_processes(TRAINER, arguments, runs[0].world_size, timeout_s=timeout_s, port=port, on_line=on_line)
        return [_finished(settings, folder) for settings, folder in zip(runs, folders, strict=True)]


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
