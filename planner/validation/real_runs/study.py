"""All cases, one after the other, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from planner.errors import PlannerError
from planner.validation.real_runs.cases import Case
from planner.validation.real_runs.compare import Outcome, compare
from planner.validation.real_runs.launch import Finished, run_all, single
from planner.validation.trainer.settings import settings_of

Progress = Callable[[float, str], None]

TIME_ERROR_ALLOWED, ORDERED_WANTED = 0.25, 0.85


@dataclass(frozen=True)
class TimeScore:
    """Predicted against measured step times.

    Args:
        cases: how many. median_error: of |predicted / measured - 1|.
        pairs: of layouts of one model and process count whose times differ by more than both spreads; ordered: of them
            those that the prediction orders alike.
        fastest: per model and process count: the measured fastest is predicted fastest, or is within the spread of it.
    """

    cases: int
    median_error: float | None
    pairs: int
    ordered: int
    fastest: dict[str, bool]

    @property
    def passed(self) -> bool:
        error = self.median_error is None or self.median_error <= TIME_ERROR_ALLOWED
        order = self.ordered >= ORDERED_WANTED * self.pairs
        return error and order and all(self.fastest.values())


def run_cases(cases: Sequence[Case], *, timed: int, progress: Progress) -> list[Outcome]:
    """Run every case; one that fails says why and the others go on.

    Args:
        timed: steps of each that are timed.
    """
    references: dict[str, Finished] = {}
    outcomes = []
    for index, case in enumerate(cases):
        progress(index / len(cases), case.name)
        try:
            outcomes.append(_run(case, references, timed))
        except PlannerError as error:
            outcomes.append(Outcome(case.name, case.processes, failed_because=str(error)))
    return outcomes


def _run(case: Case, references: dict[str, Finished], timed: int) -> Outcome:
    alone = single(case.job, case.layout)
    key = json.dumps([case.job.source["model"], alone.global_batch, alone.seq_len])
    double = settings_of(case.job, case.layout, double=True)
    plain = settings_of(case.job, case.layout, routing="balanced")
    if key not in references:
        (references[key],) = run_all([alone])
    in_double, in_plain = run_all([double, plain], timed=timed)
    return compare(case, references[key], in_double, in_plain)


def time_score(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> TimeScore:
    """What the timed outcomes say about the predictions."""
    timed = [(case, outcome) for case, outcome in zip(cases, outcomes, strict=True) if outcome.seconds]
    errors = [abs(_figure(outcome.time_error)) for _, outcome in timed]
    sets: dict[str, list[Outcome]] = {}
    for case, outcome in timed:
        sets.setdefault(f"{case.job.model.name} on {case.processes}", []).append(outcome)
    pairs = [pair for members in sets.values() for pair in combinations(members, 2) if _apart(*pair)]
    ordered = sum(
        (_figure(a.measured_s) < _figure(b.measured_s)) == (_figure(a.predicted_s) < _figure(b.predicted_s))
        for a, b in pairs
    )
    fastest = {name: _finds_fastest(members) for name, members in sets.items() if len(members) > 1}
    return TimeScore(len(timed), median(errors) if errors else None, len(pairs), ordered, fastest)


def _figure(value: float | None) -> float:
    return 0.0 if value is None else value


def _apart(a: Outcome, b: Outcome) -> bool:
    """Whether the slower one's fastest step is slower than the faster one's slowest."""
    return max(a.seconds) < min(b.seconds) or max(b.seconds) < min(a.seconds)


def _finds_fastest(members: Sequence[Outcome]) -> bool:
    chosen = min(members, key=lambda outcome: _figure(outcome.predicted_s))
    best = min(members, key=lambda outcome: _figure(outcome.measured_s))
    return chosen is best or not _apart(chosen, best)


def to_json(outcomes: Sequence[Outcome], score: TimeScore | None, seconds: float) -> dict[str, Any]:
    """The answer of ``plan validate torch --json``."""
    time = None
    if score is not None:
        time = {
            "cases": score.cases,
            "median_error": score.median_error,
            "pairs": score.pairs,
            "pairs_ordered": score.ordered,
            "fastest_found": score.fastest,
            "passed": score.passed,
        }
    return {
        "cases": [outcome.to_json() for outcome in outcomes],
        "overall": {
            "n": len(outcomes),
            "equal": sum(outcome.equal for outcome in outcomes),
            "bytes_exact": sum(outcome.bytes_exact for outcome in outcomes),
            "passed": all(outcome.passed for outcome in outcomes),
            "seconds": seconds,
        },
        "time": time,
    }
