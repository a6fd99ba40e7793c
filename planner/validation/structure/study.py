"""Traces of many cases, each in a process of its own, against their predictions."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.validation.processes.launch import run_processes
from planner.validation.structure.cases import Case
from planner.validation.structure.compare import Term, compare
from planner.validation.structure.record import Trace
from planner.validation.trainer.settings import settings_of

WORKER = "planner.validation.structure.trace_worker"
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Outcome:
    """One case.

    Args:
        terms: predicted and traced. trace: None when it failed, for the reason ``failed_because``.
    """

    name: str
    devices: int
    terms: tuple[Term, ...] = ()
    trace: Trace | None = None
    failed_because: str | None = None

    @property
    def passed(self) -> bool:
        return self.failed_because is None and all(term.passed for term in self.terms)

    def of(self, *areas: str) -> list[Term]:
        """Terms of some areas."""
        return [term for term in self.terms if term.area in areas]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "devices": self.devices,
            "passed": self.passed,
            "failed_because": self.failed_because,
            "terms": [term.to_json() for term in self.terms],
            "trace": None if self.trace is None else self.trace.to_json(),
        }


def run_cases(
    cases: Sequence[Case], *, workers: int = 1, progress: Callable[[float, str], None] | None = None
) -> list[Outcome]:
    """All cases in their order.

    Args:
        workers: traces at a time. progress: gets the share that is done and the case that follows.
    """
    outcomes = []
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for index, outcome in enumerate(pool.map(trace_case, cases), 1):
            outcomes.append(outcome)
            if progress is not None:
                progress(index / len(cases), outcome.name)
    return outcomes


def trace_case(case: Case) -> Outcome:
    """One case; what the trainer refuses or fails at becomes its reason."""
    devices = case.job.cluster.devices
    try:
        trace = _traced(case)
        terms = compare(case.job, case.layout, case.pipeline_rank, trace)
    except PlannerError as error:
        return Outcome(case.name, devices, failed_because=str(error))
    return Outcome(case.name, devices, terms, trace)


def _traced(case: Case) -> Trace:
    settings = settings_of(case.job, case.layout, routing="balanced")
    with tempfile.TemporaryDirectory(prefix="plan-") as folder:
        source, target = Path(folder, "settings.json"), Path(folder, "trace.json")
        source.write_text(settings.to_json(), encoding="utf-8")
        run_processes(WORKER, [str(source), str(case.rank), str(target)], 1, timeout_s=TIMEOUT_S)
        return Trace.from_json(json.loads(target.read_text(encoding="utf-8")))
