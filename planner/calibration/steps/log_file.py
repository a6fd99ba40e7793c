"""A framework's log as one series of steps, with its timers and its memory."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from planner.calibration.logs.lines import log_lines
from planner.calibration.steps.formats import Figure, Memory, MemoryKind, Program, Sample, facts_in
from planner.errors import PlannerError

FORMS = "Megatron-LM (elapsed time per iteration), torchtitan (tps), DeepSpeed (SamplesPerSec), MaxText (completed step)"


@dataclass(frozen=True)
class StepLog:
    """What a log holds.

    Args:
        line: of the first step; steps, values: number and figure of each, in order.
        timers: median seconds of each timer.
        memory: largest peak of each kind in bytes.
        global_batch: sequences per step as the log says, and where.
    """

    file: Path
    program: Program
    line: int
    figure: Figure
    steps: tuple[int, ...]
    values: tuple[float, ...]
    timers: Mapping[str, float]
    memory: Mapping[MemoryKind, float]
    global_batch: tuple[int, int] | None


def read_log(file: Path) -> StepLog:
    """The steps of a log; several ranks that print the same step count once.

    Raises:
        PlannerError: unreadable file, no line of a known framework, a figure that is not positive.
    """
    samples: dict[tuple[Program, Figure], list[Sample]] = defaultdict(list)
    timers: dict[str, list[float]] = defaultdict(list)
    memory: dict[MemoryKind, float] = {}
    for number, text in log_lines(file):
        for fact in facts_in(number, text):
            if isinstance(fact, Sample):
                if fact.value <= 0:
                    raise PlannerError(f"found {fact.figure} of {fact.value:g}", file=file, line=number)
                samples[fact.program, fact.figure].append(fact)
            elif isinstance(fact, Memory):
                memory[fact.kind] = max(memory.get(fact.kind, 0.0), fact.peak_bytes)
            else:
                for name, seconds in fact.seconds.items():
                    timers[name].append(seconds)
    if not samples:
        raise PlannerError(f"holds no step of {FORMS}", file=file)
    # a figure of the whole step tells more than a mean since the start
    chosen = max(samples, key=lambda key: (key[1] != "samples_per_s_average", key[1] == "step_time_s"))
    return _series(file, samples[chosen], {name: statistics.median(t) for name, t in timers.items()}, memory)


def _series(
    file: Path, samples: list[Sample], timers: Mapping[str, float], memory: Mapping[MemoryKind, float]
) -> StepLog:
    by_step: dict[int, list[float]] = defaultdict(list)
    for sample in samples:
        by_step[sample.step].append(sample.value)
    steps = sorted(by_step)
    values = [statistics.median(by_step[step]) for step in steps]
    if samples[0].figure == "samples_per_s_average":
        steps, values = steps[-1:], values[-1:]
    batches = {sample.global_batch: sample.line for sample in reversed(samples) if sample.global_batch}
    if len(batches) > 1:
        found = " and ".join(str(batch) for batch in batches)
        raise PlannerError(
            f"the global batch changes ({found} sequences); one is accepted",
            file=file,
            line=max(batches.values()),
        )
    return StepLog(
        file=file,
        program=samples[0].program,
        line=samples[0].line,
        figure=samples[0].figure,
        steps=tuple(steps),
        values=tuple(values),
        timers=timers,
        memory=memory,
        global_batch=next(iter((batch, line) for batch, line in batches.items() if batch), None),
    )
