"""Predicted against measured step times of all cases together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

from planner.validation.real_runs.timing import TimedStep

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

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "cases": self.cases,
            "median_error": self.median_error,
            "pairs": self.pairs,
            "pairs_ordered": self.ordered,
            "fastest_found": self.fastest,
            "passed": self.passed,
        }


def time_score(steps: Sequence[TimedStep]) -> TimeScore:
    """What the timed layouts say about the predictions; those that did not run say nothing."""
    timed = [step for step in steps if step.seconds]
    sets: dict[str, list[TimedStep]] = {}
    for step in timed:
        sets.setdefault(f"{step.model} on {step.processes}", []).append(step)
    pairs = [pair for members in sets.values() for pair in combinations(members, 2) if _apart(*pair)]
    ordered = sum((a.measured_s < b.measured_s) == (a.predicted_s < b.predicted_s) for a, b in pairs)
    fastest = {name: _finds_fastest(members) for name, members in sets.items() if len(members) > 1}
    error = median(abs(step.error) for step in timed) if timed else None
    return TimeScore(len(timed), error, len(pairs), ordered, fastest)


def _apart(a: TimedStep, b: TimedStep) -> bool:
    """Whether the slower one's fastest step is slower than the faster one's slowest."""
    return max(a.seconds) < min(b.seconds) or max(b.seconds) < min(a.seconds)


def _finds_fastest(members: Sequence[TimedStep]) -> bool:
    chosen = min(members, key=lambda step: step.predicted_s)
    best = min(members, key=lambda step: step.measured_s)
    return chosen is best or not _apart(chosen, best)
