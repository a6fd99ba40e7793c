"""Timed steps of real runs beside their predictions: the table, what they say together, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import NoAnswerError
from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.tables import new_table
from planner.validation.real_runs.times import time_score

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.real_runs.timing import TimedStep


def show_times(console: Console, steps: Sequence[TimedStep]) -> None:
    """One row per layout, then what the times say together."""
    if not steps:
        return
    memory = any(step.peak_bytes is not None for step in steps)
    headings = ["case", "ranks", "measured", "spread", "predicted", "error"]
    headings += ["peak", "predicted", "error"] if memory else []
    table = new_table("Steps beside their predictions", headings, left=["case"])
    for step in steps:
        table.add_row(step.name, str(step.processes), *_times(step), *(_memory(step) if memory else ()))
    console.print(table)
    for step in steps:
        if step.failed_because is not None:
            console.print(f"{step.name}: {step.failed_because}")
    score = time_score(steps)
    if score.median_error is not None:
        console.print(
            f"median error {100 * score.median_error:.0f} % of {score.cases} cases; {score.ordered} of "
            f"{score.pairs} pairs beyond both spreads ordered alike; fastest layout found in "
            f"{sum(score.fastest.values())} of {len(score.fastest)} sets"
        )


def _times(step: TimedStep) -> list[str]:
    if not step.seconds:
        return ["failed", "", "", ""]
    return [
        f"{1e3 * step.measured_s:.0f} ms",
        f"{100 * step.spread:.0f} %",
        f"{1e3 * step.predicted_s:.0f} ms",
        f"{100 * step.error:+.0f} %",
    ]


def _memory(step: TimedStep) -> list[str]:
    if step.peak_bytes is None or step.memory_error is None:
        return [""] * 3
    return [
        f"{step.peak_bytes / 1e9:.2f} GB",
        f"{step.predicted_peak_bytes / 1e9:.2f} GB",
        f"{100 * step.memory_error:+.0f} %",
    ]


def draw_times(path: str | Path, steps: Sequence[TimedStep]) -> None:
    """Predicted against measured time of a step; bars span the repeats.

    Raises:
        PlannerError: another ending than .png, .svg, .pdf, or nothing was timed.
    """
    check_picture(path)
    timed = [step for step in steps if step.seconds]
    if not timed:
        raise NoAnswerError("nothing was timed, so there is nothing to draw", file=path)
    figure = new_figure(7.5, 6.5)
    axes = figure.subplots()
    for count, marker in zip(sorted({step.processes for step in timed}), "os^Dv", strict=False):
        members = [step for step in timed if step.processes == count]
        middle = [1e3 * step.measured_s for step in members]
        below = [at - 1e3 * min(step.seconds) for at, step in zip(middle, members, strict=True)]
        above = [1e3 * max(step.seconds) - at for at, step in zip(middle, members, strict=True)]
        predicted = [1e3 * step.predicted_s for step in members]
        label = f"{count} process{'' if count == 1 else 'es'}"
        axes.errorbar(middle, predicted, xerr=[below, above], fmt=marker, capsize=2, label=label)
    ends = [
        1e3 * min(min(step.seconds) for step in timed) / 1.5,
        1e3 * max(max(s.seconds) for s in timed) * 1.5,
    ]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.fill_between(
        ends, [0.75 * end for end in ends], [1.25 * end for end in ends], color="0.9", label="25 %"
    )
    axes.set(xscale="log", yscale="log", xlabel="measured step (ms)", ylabel="predicted step (ms)")
    ticks = [
        t * 10.0**power for power in range(-3, 7) for t in (1, 2, 3, 5) if ends[0] < t * 10.0**power < ends[1]
    ]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{tick:,g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    axes.legend()
    axes.set_title("Steps of real runs on this machine")
    save_figure(figure, path)
