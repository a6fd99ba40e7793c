"""Runs beside their predictions: steps, components, timers, memory, and what a fit makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner.calibration.steps.components import Component, TimedPart, components, timed_parts
from planner.calibration.steps.fit import Progress, StepsFit, fit_steps
from planner.calibration.steps.runs import OwnRun
from planner.costs.predict import predict
from planner.jobs.prediction import Prediction


@dataclass(frozen=True)
class RunComparison:
    """One run.

    Args:
        components: the likeliest explanation of the difference first.
        timed: parts that its own timers measured.
        memory: (kind, measured bytes, predicted bytes).
    """

    run: OwnRun
    prediction: Prediction
    components: tuple[Component, ...]
    timed: tuple[TimedPart, ...]
    memory: tuple[tuple[str, float, float], ...]

    @property
    def error(self) -> float:
        """Predicted over measured step time less one."""
        return self.prediction.step_time_s / self.run.step.seconds - 1.0

    @property
    def inside(self) -> bool:
        """Whether the interval of the prediction holds the measured step."""
        low, high = self.prediction.interval_s
        return low <= self.run.step.seconds <= high


@dataclass(frozen=True)
class StepsReport:
    """All runs of one call; ``fit`` holds their runs in the same order."""

    runs: tuple[RunComparison, ...]
    fit: StepsFit

    def to_json(self) -> dict[str, Any]:
        """Plain data; errors are fractions."""
        afters = self.fit.after.tolist()
        return {
            "runs": [_run_json(run, after) for run, after in zip(self.runs, afters, strict=True)],
            "constants": [
                {**asdict(moved), "key": str(moved.key), "kind": moved.key.kind} for moved in self.fit.moved
            ],
            "alike": [[str(key) for key in group] for group in self.fit.alike],
            "calibration": self.fit.calibration.model_dump(mode="json"),
        }


def compare_run(run: OwnRun) -> RunComparison:
    """One run beside its prediction."""
    found = predict(run.job, run.layout)
    bytes_of = {
        "allocated": found.memory.peak_bytes,
        "reserved": found.memory.reserved_bytes,
        "device_used": found.memory.device_used_bytes,
    }
    memory = tuple((kind, measured, bytes_of[kind]) for kind, measured in run.memory.items())
    return RunComparison(
        run, found, tuple(components(run, found)), tuple(timed_parts(run.timers, found)), memory
    )


def report_steps(
    runs: Sequence[OwnRun],
    files: Sequence[Path],
    name: str = "steps",
    progress: Progress = lambda done, message: None,
) -> StepsReport:
    """Runs compared and fitted."""
    compared = []
    for index, run in enumerate(runs):
        progress(0.3 * index / len(runs), f"predicting {run.name}")
        compared.append(compare_run(run))
    fit = fit_steps(runs, files, name, lambda done, message: progress(0.3 + 0.7 * done, message))
    return StepsReport(tuple(compared), fit)


def _run_json(found: RunComparison, after: float) -> dict[str, Any]:
    run = found.run
    return {
        "name": run.name,
        "file": str(run.file),
        "line": run.line,
        "layout": dict(run.layout.knobs()),
        "measured_s": run.step.seconds,
        "spread": run.step.spread,
        "steps": run.step.count,
        "warm_up": list(run.step.warm_up),
        "outliers": list(run.step.outliers),
        "predicted_s": found.prediction.step_time_s,
        "interval_s": list(found.prediction.interval_s),
        "fitted_s": after,
        "error": found.error,
        "error_fitted": after / run.step.seconds - 1.0,
        "components": [{**_finite(asdict(part)), "possible": part.possible} for part in found.components],
        "timers": [asdict(part) for part in found.timed],
        "memory": [
            {"kind": kind, "measured_bytes": measured, "predicted_bytes": predicted}
            for kind, measured, predicted in found.memory
        ],
        "notes": list(run.notes),
    }


def _finite(plain: dict[str, Any]) -> dict[str, Any]:
    """Without infinities, which JSON has not."""
    return {name: None if value == float("inf") else value for name, value in plain.items()}
