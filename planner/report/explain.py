"""Why the others lost: neighbours of the best plan that differ in one knob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.report.difference import (
    memory_difference,
    memory_words,
    signed_seconds,
    time_difference,
    time_words,
)
from planner.report.tables import new_table
from planner.report.text import GIB, layout_words, percent

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Alternative:
    """One neighbour of the best plan.

    Args:
        knob, value: the knob that differs and its value there.
        prediction: what is predicted for it.
        missing_bytes: how much it overflows the memory that may be used; 0 when it fits.
    """

    knob: str
    value: object
    prediction: Prediction
    missing_bytes: float


@dataclass(frozen=True)
class Explanation:
    """The best plan and its neighbours, nearest in time first, those that do not fit last."""

    best: Prediction
    alternatives: tuple[Alternative, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """One object per neighbour with the differences by component."""
        return [
            {
                "knob": item.knob,
                "value": item.value,
                "layout": dict(item.prediction.layout),
                "fits": item.prediction.memory.fits,
                "missing_bytes": item.missing_bytes,
                "step_time_s": item.prediction.step_time_s,
                "step_time_difference_s": item.prediction.step_time_s - self.best.step_time_s,
                "time_difference_s": time_difference(self.best, item.prediction),
                "memory_difference_bytes": memory_difference(self.best, item.prediction),
            }
            for item in self.alternatives
        ]


def explain_plan(job: Job, best: Prediction) -> Explanation:
    """Predict every legal layout that differs from ``best`` in one knob."""
    from planner.solvers.neighbours import neighbours

    found = [
        Alternative(item.knob, item.value, item.prediction, item.overflow_bytes)
        for item in neighbours(job, best)
    ]
    found.sort(key=lambda item: (item.missing_bytes > 0, item.prediction.step_time_s))
    return Explanation(best, tuple(found))


def print_explanation(console: Console, explanation: Explanation, limit: int = 24) -> None:
    """One row per neighbour: the change of the step and where it comes from, or what memory it lacks."""
    best = explanation.best
    title = "Why the others lost: one knob changed"
    table = new_table(title)
    table.add_column("knob", no_wrap=True)
    table.add_column("step", justify="right", no_wrap=True)
    table.add_column("because", overflow="fold")
    for item in explanation.alternatives[:limit]:
        other = item.prediction
        knob = f"{item.knob}={_short(item.value)}"
        if item.missing_bytes:
            changes = memory_words(memory_difference(best, other))
            table.add_row(
                knob, "no fit", f"needs {item.missing_bytes / GIB:,.1f} GiB more: {changes}", style="dim"
            )
            continue
        change = other.step_time_s - best.step_time_s
        text = time_words(time_difference(best, other), best.step_time_s)
        table.add_row(knob, f"{signed_seconds(change)} ({percent(change / best.step_time_s)})", text)
    console.print(table)
    if not explanation.alternatives:
        console.print(f"no other legal layout is one knob away from {layout_words(best.layout)}")


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
