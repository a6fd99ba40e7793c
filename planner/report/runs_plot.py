"""Predicted against measured step time of published runs, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import NoAnswerError
from planner.report.pictures import check_picture, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from planner.validation.runs.outcome import Outcome

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
BAND = 0.2
LOWEST, HIGHEST = -80.0, 120.0
"""Ends of the error axis (%); errors beyond are drawn on its edge."""


def draw_runs(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Draw time against time on the left, the spread of errors by group on the right.

    One colour and marker per group; hollow points are scored apart or leave settings open.

    Args:
        path: ends in .png, .svg or .pdf.

    Raises:
        PlannerError: another ending, a file that cannot be written, or nothing was predicted.
    """
    check_picture(path)
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            groups.setdefault(f"{outcome.family}, {outcome.accelerator}", []).append(outcome)
    if not groups:
        raise NoAnswerError("nothing is predicted and measured, so there is nothing to draw", file=path)
    ordered = dict(sorted(groups.items()))
    figure = new_figure(15, max(6.6, 2.0 + 0.24 * len(ordered)))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for index, members in enumerate(ordered.values()):
        _scatter(left, members, index)
    _frame_times(left, [o for members in ordered.values() for o in members])
    _spread(right, ordered)
    figure.suptitle("Published runs: predicted against measured time of one optimizer step")
    save_figure(figure, path)


def _scatter(axes: Axes, members: Sequence[Outcome], index: int) -> None:
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    for counts in (True, False):
        chosen = [o for o in members if (o.heading == "complete") == counts]
        axes.plot(
            [o.measured_s or 0.0 for o in chosen],
            [o.predicted_s or 0.0 for o in chosen],
            linestyle="none",
            marker=marker,
            markersize=4.5,
            color=color,
            markerfacecolor=color if counts else "none",
            markeredgewidth=0.7,
            alpha=0.7 if counts else 0.45,
        )


def _frame_times(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    times = [o.measured_s or 0.0 for o in outcomes] + [o.predicted_s or 0.0 for o in outcomes]
    ends = [min(times) / 1.5, max(times) * 1.5]
    axes.fill_between(
        ends,
        [end / (1 + BAND) for end in ends],
        [end * (1 + BAND) for end in ends],
        color="0.9",
        label=f"within {100 * BAND:.0f} %",
    )
    axes.plot(ends, ends, color="black", linewidth=1, label="predicted = measured")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("measured step time (s)")
    axes.set_ylabel("predicted step time (s)")
    axes.set_title("Filled: counted; hollow: scored apart or settings open")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left", fontsize="small")


def _spread(axes: Axes, groups: dict[str, list[Outcome]]) -> None:
    """Each error as a tick of its group, the median as a bar."""
    for place, (index, members) in enumerate(enumerate(groups.values())):
        errors = sorted(min(max(100 * (o.error or 0.0), LOWEST), HIGHEST) for o in members)
        color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
        axes.plot(
            errors,
            [place] * len(errors),
            linestyle="none",
            marker=marker,
            markersize=5,
            color=color,
            alpha=0.35,
        )
        axes.plot([errors[len(errors) // 2]], [place], "|", color="black", markersize=14, markeredgewidth=2)
    axes.axvspan(-100 * (1 - 1 / (1 + BAND)), 100 * BAND, color="0.9", zorder=0)
    axes.axvline(0, color="black", linewidth=1)
    labels = [f"{name} ({len(members)})" for name, members in groups.items()]
    axes.set_yticks(range(len(groups)), labels, fontsize="small")
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(LOWEST - 5, HIGHEST + 5)
    axes.set_xlabel(f"predicted / measured - 1 (%), bar: median; larger errors stand at {HIGHEST:.0f}")
    axes.set_title("Errors by group (rows)")
    axes.grid(alpha=0.3, axis="x")
