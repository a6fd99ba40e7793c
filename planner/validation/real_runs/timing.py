"""Steps of real runs, timed on this machine beside their predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from planner.calibration.measure.start import Device
from planner.calibration.measure.whole import calibrate_here
from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.validation.real_runs.cases import Case, built_in
from planner.validation.real_runs.launch import Finished, run_each
from planner.validation.trainer.settings import Settings, settings_of

Progress = Callable[[float, str], None]

LISTS: Mapping[Device, str] = {"cpu": "timed_cases.yaml", "cuda": "gpu_cases.yaml"}
"""Built-in cases of a device: layouts on the cores of this computer, model shapes on one GPU."""


@dataclass(frozen=True)
class TimedStep:
    """One layout.

    Args:
        name, processes: of the case. model: layouts of one model on as many processes are compared with each other.
        seconds: of the repeats, each of the slowest rank; predicted_s: of one step.
        peak_bytes: most bytes allocated in a step, None on a CPU; predicted_peak_bytes: the same of the prediction.
        failed_because: why it did not run, else None.
    """

    name: str
    model: str
    processes: int
    seconds: tuple[float, ...] = ()
    predicted_s: float = 0.0
    peak_bytes: int | None = None
    predicted_peak_bytes: float = 0.0
    failed_because: str | None = None

    @property
    def measured_s(self) -> float:
        """Median of the repeats."""
        return median(self.seconds)

    @property
    def spread(self) -> float:
        """(max - min) / median of the repeats."""
        return (max(self.seconds) - min(self.seconds)) / self.measured_s

    @property
    def error(self) -> float:
        """predicted / measured - 1."""
        return self.predicted_s / self.measured_s - 1.0

    @property
    def memory_error(self) -> float | None:
        """The same of the peak."""
        return None if self.peak_bytes is None else self.predicted_peak_bytes / self.peak_bytes - 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        names = ("measured_s", "spread", "error", "memory_error") if self.seconds else ()
        return asdict(self) | {name: getattr(self, name) for name in names}


def calibrations_for(
    cases: Sequence[Case], folder: Path, *, device: Device, progress: Progress
) -> dict[int, Path]:
    """A calibration of this machine for every number of processes of the cases; those that the folder holds stay.

    Raises:
        PlannerError, NoAnswerError: see ``calibrate_here``.
    """
    counts = sorted({case.processes for case in cases})
    files = {count: folder / f"{device}-{count}.yaml" for count in counts}
    for index, (count, file) in enumerate(files.items()):

        def told(done: float, what: str, index: int = index, count: int = count) -> None:
            progress((index + done) / len(counts), f"calibrating {count} processes: {what}")

        if not file.exists():
            calibrate_here(file, told, processes=count, device=device)
    return files


def priced_from(cases: Sequence[Case], files: Mapping[int, Path], device: Device) -> list[Case]:
    """Built-in timed cases with the calibration of their number of processes."""
    names = {case.name for case in cases}
    known = built_in(LISTS[device], calibrations=files, device=device)
    return [case for case in known if case.name in names]


def time_cases(cases: Sequence[Case], *, repeats: int, device: Device, progress: Progress) -> list[TimedStep]:
    """Run every case and time its steps; one that fails says why and the others go on.

    Args:
        repeats: timed steps of each.
    """
    made = [_settings(case, device) for case in cases]
    runs = [run for run in made if isinstance(run, Settings)]
    done: list[int] = []

    def ended(index: int) -> None:
        done.append(index)
        progress(len(done) / len(runs), f"timed {len(done)} of {len(runs)}")

    progress(0.0, "timing")
    ends = iter(run_each(runs, timed=repeats, on_end=ended))
    found = [next(ends) if isinstance(run, Settings) else run for run in made]
    return [_step(case, end) for case, end in zip(cases, found, strict=True)]


def _settings(case: Case, device: Device) -> Settings | PlannerError:
    """One step warms up, another is counted; then steps are timed."""
    try:
        return settings_of(case.job, case.layout, routing="balanced", steps=1, device=device)
    except PlannerError as error:
        return error


def _step(case: Case, end: Finished | PlannerError) -> TimedStep:
    model = str(case.job.model.name)
    if isinstance(end, PlannerError):
        return TimedStep(case.name, model, case.processes, failed_because=str(end))
    prediction = predict(case.job, case.layout)
    return TimedStep(
        case.name,
        model,
        case.processes,
        seconds=end.result.seconds,
        predicted_s=prediction.step_time_s,
        peak_bytes=end.result.peak_bytes,
        predicted_peak_bytes=prediction.memory.peak_bytes,
    )
