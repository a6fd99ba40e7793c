"""Real runs on this machine: tables, and a picture of predicted against measured time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import NoAnswerError
from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.real_runs.compare import Outcome
    from planner.validation.real_runs.times import TimeScore

MOST_DIFFERENCES = 12


def show_outcomes(console: Console, outcomes: Sequence[Outcome], score: TimeScore | None) -> None:
    """One row per case, then what differs, then what the times say together."""
    headings = ["case", "ranks", "loss", "gradients", "loss, 32 bits", "calls"]
    timed = ["measured", "spread", "predicted", "error"] if score is not None else []
    table = new_table("Real runs against one process and the prediction", [*headings, *timed], left=["case"])
    for outcome in outcomes:
        table.add_row(
            outcome.name, str(outcome.processes), *_equality(outcome), *(_times(outcome) if timed else ())
        )
    console.print(table)
    for outcome in outcomes:
        _show_differences(console, outcome)
    if score is not None and score.median_error is not None:
        found = sum(score.fastest.values())
        console.print(
            f"time: median error {100 * score.median_error:.0f} % of {score.cases} cases; {score.ordered} of "
            f"{score.pairs} pairs beyond both spreads ordered alike; fastest layout found in {found} of "
            f"{len(score.fastest)} sets"
        )


def _equality(outcome: Outcome) -> list[str]:
    if outcome.failed_because is not None:
        return ["failed", "", "", ""]
    exact = sum(term.passed for _, term in outcome.communication)
    errors = (outcome.loss_error, outcome.gradient_error, outcome.single_loss_error)
    return [*(f"{error:.0e}" for error in errors), f"{exact}/{len(outcome.communication)}"]


def _times(outcome: Outcome) -> list[str]:
    if outcome.measured_s is None or outcome.predicted_s is None:
        return [""] * 4
    return [
        f"{1e3 * outcome.measured_s:.0f} ms",
        f"{100 * (outcome.spread or 0.0):.0f} %",
        f"{1e3 * outcome.predicted_s:.0f} ms",
        f"{100 * (outcome.time_error or 0.0):+.0f} %",
    ]


def _show_differences(console: Console, outcome: Outcome) -> None:
    if outcome.failed_because is not None:
        console.print(f"{outcome.name}: {outcome.failed_because}")
    differing = [(rank, term) for rank, term in outcome.communication if not term.passed]
    for rank, term in differing[:MOST_DIFFERENCES]:
        console.print(
            f"{outcome.name}: rank {rank}: {term.name}: {term.predicted:g} predicted, {term.traced:g} made"
        )
    if len(differing) > MOST_DIFFERENCES:
        console.print(f"{outcome.name}: and {len(differing) - MOST_DIFFERENCES} more")


def draw_times(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Predicted against measured time of a step; bars span the repeats.

    Raises:
        PlannerError: another ending than .png, .svg, .pdf, or nothing was timed.
    """
    check_picture(path)
    timed = [outcome for outcome in outcomes if outcome.seconds and outcome.predicted_s is not None]
    if not timed:
        raise NoAnswerError("nothing was timed, so there is nothing to draw", file=path)
    figure = new_figure(7.5, 6.5)
    axes = figure.subplots()
    for count, marker in zip(sorted({outcome.processes for outcome in timed}), "os^Dv", strict=False):
        members = [outcome for outcome in timed if outcome.processes == count]
        middle = [1e3 * (outcome.measured_s or 0.0) for outcome in members]
        below = [at - 1e3 * min(outcome.seconds) for at, outcome in zip(middle, members, strict=True)]
        above = [1e3 * max(outcome.seconds) - at for at, outcome in zip(middle, members, strict=True)]
        reach = [below, above]
        predicted = [1e3 * (outcome.predicted_s or 0.0) for outcome in members]
        axes.errorbar(middle, predicted, xerr=reach, fmt=marker, capsize=2, label=f"{count} processes")
    ends = [1e3 * min(min(o.seconds) for o in timed) / 1.5, 1e3 * max(max(o.seconds) for o in timed) * 1.5]
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.fill_between(
        ends, [0.75 * end for end in ends], [1.25 * end for end in ends], color="0.9", label="25 %"
    )
    axes.set(xscale="log", yscale="log", xlabel="measured step (ms)", ylabel="predicted step (ms)")
    axes.legend()
    axes.set_title("Real runs on this machine")
    save_figure(figure, path)
