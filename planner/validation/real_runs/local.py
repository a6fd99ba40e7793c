"""One plan run for real on this machine, beside its prediction."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.plan import Plan, read_plan
from planner.jobs.prediction import Prediction
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.validation.processes.launch import require_torch
from planner.validation.real_runs.compare import communication
from planner.validation.real_runs.launch import run_all
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
    """

    name: str
    prediction: Prediction
    result: RunResult
    communication: tuple[tuple[int, Term], ...]

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
        }


def run_plan(
    path: str,
    *,
    steps: int,
    double: bool = False,
    device: str = "cpu",
    processes: int | None = None,
    port: int | None = None,
) -> LocalRun:
    """Run a plan file's layout.

    Args:
        steps: optimizer steps whose losses are given; as many more are timed (not in 64 bits).
        double: everything in 64 bits.
        processes: what the caller thinks the plan needs.
        port: of the rendezvous, None for a free one.

    Raises:
        PlannerError: no plan, a layout that the trainer cannot run, too many processes or too little memory.
        NoAnswerError: a process died.
    """
    plan = read_plan(path)
    layout = parse_layout(plan.knobs, plan.job, file=path, line=plan.line("layout"))
    needed = layout.tp * layout.cp * layout.pp * layout.dp
    if processes is not None and processes != needed:
        raise PlannerError(f"found {processes}; the plan needs {needed}", field="--processes")
    require_torch()
    settings = settings_of(plan.job, layout, double=double, steps=steps, device=device, routing="balanced")
    prediction = predict(plan.job, layout)
    _require_room(path, plan, layout, needed, prediction, double)
    (finished,) = run_all([settings], timed=steps, port=port)
    terms = () if double else communication(prediction, finished)
    return LocalRun(plan.name, prediction, finished.result, terms)


def _require_room(
    path: str, plan: Plan, layout: Layout, needed: int, prediction: Prediction, double: bool
) -> None:
    """Refuse what this machine cannot hold: processes, and on the CPU the memory of all of them together."""
    if needed > MOST_PROCESSES:
        message = f"needs {needed} processes, at most {MOST_PROCESSES} run on one machine"
        raise PlannerError(message, file=path, field="layout")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    width = 8.0 / 4.0 if double else 1.0
    bytes_needed = width * needed * prediction.memory.peak_bytes
    if bytes_needed > MEMORY_SHARE * free:
        message = (
            f"{needed} processes of {prediction.memory.peak_bytes / 1e9:.3g} GB need {bytes_needed / 1e9:.3g} GB, "
            f"{free / 1e9:.3g} GB are free here; plan a smaller model with the same layout"
        )
        raise PlannerError(message, file=path, field="job.model")
