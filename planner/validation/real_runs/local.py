"""One plan run for real on this machine, beside its prediction."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.prediction import Prediction
from planner.validation.processes.launch import require_torch
from planner.validation.real_runs.cases import of_plans
from planner.validation.real_runs.compare import communication
from planner.validation.real_runs.launch import run_all
from planner.validation.real_runs.scaled.copy import Cut
from planner.validation.structure.compare import Term
from planner.validation.trainer.results import RunResult
from planner.validation.trainer.settings import settings_of

MOST_PROCESSES = 64
MEMORY_SHARE = 0.8
"""Of the machine's free memory that a run on the CPU may be predicted to use."""


@dataclass(frozen=True)
class LocalRun:
    """A run and its prediction.

    Args:
        result: of all ranks. communication: (rank, term), calls predicted and made, by axis and collective; empty in 64 bits,
            where every message is longer.
        cuts: in which the scaled-down copy that ran differs from the plan.
    """

    name: str
    prediction: Prediction
    result: RunResult
    communication: tuple[tuple[int, Term], ...]
    cuts: tuple[Cut, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        seconds = self.result.seconds
        return {
            "plan": self.name,
            "processes": len(self.result.ranks),
            "losses": list(self.result.losses),
            "seconds": list(seconds),
            "step_s": median(seconds) if seconds else None,
            "predicted_step_s": self.prediction.step_time_s,
            "peak_bytes": self.result.peak_bytes,
            "predicted_peak_bytes": self.prediction.memory.peak_bytes,
            "communication": [{"rank": rank, **term.to_json()} for rank, term in self.communication],
            "ranks": [asdict(rank) for rank in self.result.ranks],
            "scaled_down": [asdict(cut) for cut in self.cuts],
        }


def run_plan(
    path: str,
    *,
    steps: int,
    double: bool = False,
    device: str = "cpu",
    processes: int | None = None,
    port: int | None = None,
    scale_down: int | None = None,
) -> LocalRun:
    """Run a plan file's layout.

    Args:
        steps: optimizer steps whose losses are given; as many more are timed (not in 64 bits).
        double: everything in 64 bits.
        processes: what the caller thinks the plan needs.
        port: of the rendezvous, None for a free one.
        scale_down: run a copy on at most so many processes instead (see ``scaled.copy``).

    Raises:
        PlannerError: no plan, a layout that the trainer cannot run, too many processes or too little memory.
        NoAnswerError: a process died.
    """
    require_torch()
    (case,) = of_plans([path], MOST_PROCESSES, scale_down=scale_down)
    if processes is not None and processes != case.processes:
        raise PlannerError(f"found {processes}; the plan needs {case.processes}", field="--processes")
    settings = settings_of(
        case.job, case.layout, double=double, steps=steps, device=device, routing="balanced"
    )
    prediction = predict(case.job, case.layout)
    if device == "cpu":
        _require_room(path, case.processes, prediction.memory.peak_bytes * (2.0 if double else 1.0))
    (finished,) = run_all([settings], timed=steps, port=port)
    terms = () if double else communication(prediction, finished)
    return LocalRun(case.name, prediction, finished.result, terms, case.cuts)


def _require_room(path: str, processes: int, each: float) -> None:
    """Refuse what this machine cannot hold: ``each`` bytes of every process."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if processes * each > MEMORY_SHARE * free:
        message = (
            f"{processes} processes of {each / 1e9:.3g} GB need {processes * each / 1e9:.3g} GB, "
            f"{free / 1e9:.3g} GB are free here; add --scale-down 8 to run a small copy of the same layout"
        )
        raise PlannerError(message, file=path, field="job.model")
