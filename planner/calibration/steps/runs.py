"""A user's own runs: the job and layout of each, its measured step, timers and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from planner.calibration.steps.log_file import StepLog, read_log
from planner.calibration.steps.series import Steady, steady
from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.errors import PlannerError
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.legality import require_legal

MEMORY_KINDS = ("allocated", "reserved", "device_used")


@dataclass(frozen=True)
class OwnRun:
    """One run.

    Args:
        memory: peak bytes by kind, of the fullest device where several were read.
        timers: seconds per step by name.
        notes: what was assumed.
    """

    name: str
    file: Path
    line: int
    job: Job
    layout: Layout
    step: Steady
    memory: Mapping[str, float] = field(default_factory=dict)
    timers: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_of_log(file: Path, job: Job, layout: Layout) -> OwnRun:
    """The run that a log shows.

    Raises:
        PlannerError: unreadable log, another global batch than the job's, an illegal layout.
    """
    log = read_log(file)
    require_legal(job, layout)
    if log.global_batch is not None and log.global_batch[0] != job.training.global_batch:
        raise PlannerError(
            f"the log trains {log.global_batch[0]} sequences per step, the job {job.training.global_batch}",
            file=file,
            line=log.global_batch[1],
            field="global batch size",
        )
    seconds = [seconds_of(log.figure, value, job, _devices(layout)) for value in log.values]
    notes = (
        ("only a mean since the start is printed: warm-up is part of it",)
        if log.figure == "samples_per_s_average"
        else ()
    )
    return OwnRun(
        name=file.stem,
        file=file,
        line=log.line,
        job=job,
        layout=layout,
        step=steady(log.steps, seconds),
        memory={str(kind): peak for kind, peak in log.memory.items()},
        timers=_per_step(log, layout),
        notes=notes,
    )


def _per_step(log: StepLog, layout: Layout) -> dict[str, float]:
    """Timers by step: DeepSpeed prints those of a micro-step as well."""
    times = {}
    for name, seconds in log.timers.items():
        plain = name.removesuffix("_microstep")
        if plain == name:
            times[name] = seconds
        elif plain not in log.timers:
            times[plain] = seconds * (1.0 if plain == "step" else layout.micro_batches)
    return times


def _devices(layout: Layout) -> int:
    return layout.tp * layout.cp * layout.pp * layout.dp


def seconds_of(figure: str, value: float, job: Job, devices: int, convention: str | None = None) -> float:
    """Seconds of a step from what was measured.

    Args:
        figure: step_time_s, tokens_per_s, tokens_per_s_per_device, samples_per_s, model_tflops_per_device or mfu (a part of 1).
        convention: of the last two: causal_half (the default) or full_square.
    """
    tokens, batch = job.training.tokens_per_step, job.training.global_batch
    if figure == "step_time_s":
        return value
    if figure == "tokens_per_s":
        return tokens / value
    if figure == "tokens_per_s_per_device":
        return tokens / (value * devices)
    if figure in ("samples_per_s", "samples_per_s_average"):
        return batch / value
    flops = model_flops(job, "full_square" if convention == "full_square" else "causal_half") / devices
    if figure == "mfu":
        return flops / (value * peak_flops(job.cluster.accelerator, job.training.precision))
    return flops / (value * 1e12)
