"""All cases, and what they say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner.errors import PlannerError
from planner.validation.real_runs.cases import Case
from planner.validation.real_runs.compare import Outcome, compare
from planner.validation.real_runs.launch import Finished, run_each, single
from planner.validation.real_runs.times import time_score
from planner.validation.real_runs.timing import TimedStep
from planner.validation.trainer.settings import Settings, settings_of

Progress = Callable[[float, str], None]


def run_cases(cases: Sequence[Case], *, progress: Progress) -> list[Outcome]:
    """Run every case; one that fails says why and the others go on.

    Equal runs are made once (the one-process run of many cases), those of equal world size in one launch.
    """
    told = [_runs_of(case) for case in cases]
    owners = {
        run.to_json(): (case.name, run)
        for case, runs in zip(cases, told, strict=True)
        if not isinstance(runs, PlannerError)
        for run in runs
    }
    names, runs = zip(*owners.values(), strict=True) if owners else ((), ())
    done: list[int] = []

    def ended(index: int) -> None:
        done.append(index)
        progress(len(done) / len(runs), names[index])

    progress(0.0, "starting processes")
    ends = dict(zip(owners, run_each(runs, on_end=ended), strict=True))
    return [_outcome(case, runs, ends) for case, runs in zip(cases, told, strict=True)]


def _runs_of(case: Case) -> tuple[Settings, Settings, Settings, Settings] | PlannerError:
    """What ``compare`` wants; or why it cannot be run.

    Learned routes move other numbers of rows than a prediction knows, so that the run in the job's precision deals tokens
    out evenly, as does the one-process run that it is compared with.
    """
    job, layout = case.job, case.layout
    routing = "balanced" if job.model.experts else "learned"
    try:
        return (
            single(job, layout),
            settings_of(job, layout, double=True),
            single(job, layout, routing=routing),
            settings_of(job, layout, routing=routing),
        )
    except PlannerError as error:
        return error


def _outcome(
    case: Case, runs: Sequence[Settings] | PlannerError, ends: Mapping[str, Finished | PlannerError]
) -> Outcome:
    finished = []
    for end in [runs] if isinstance(runs, PlannerError) else [ends[run.to_json()] for run in runs]:
        if isinstance(end, PlannerError):
            return Outcome(case.name, case.processes, failed_because=str(end))
        finished.append(end)
    return compare(case, *finished)


def to_json(
    cases: Sequence[Case], outcomes: Sequence[Outcome], steps: Sequence[TimedStep], seconds: float
) -> dict[str, Any]:
    """The answer of ``plan validate torch --json``."""
    cuts = [{"scaled_down": [asdict(cut) for cut in case.cuts]} for case in cases]
    return {
        "cases": [outcome.to_json() | cut for outcome, cut in zip(outcomes, cuts, strict=True)],
        "overall": {
            "n": len(outcomes),
            "equal": sum(outcome.equal for outcome in outcomes),
            "bytes_exact": sum(outcome.bytes_exact for outcome in outcomes),
            "passed": all(outcome.passed for outcome in outcomes),
            "seconds": seconds,
        },
        "time": time_score(steps).to_json() if steps else None,
        "steps": [step.to_json() for step in steps],
    }
