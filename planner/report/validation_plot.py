"""Predicted against measured times of kernels or collectives, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import NoAnswerError
from planner.report.pictures import check_picture, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from planner.validation.points import Comparison, Point

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
MOST_IN_LEGEND = 16
BAND = 0.2


def draw_comparison(path: str | Path, comparison: Comparison, title: str) -> None:
    """Draw time against time on the left and the error against the measured time on the right.

    One colour and marker per operator and accelerator; hollow points are scored apart.

    Args:
        path: ends in .png, .svg or .pdf.

    Raises:
        PlannerError: another ending, a file that cannot be written, or nothing was predicted.
    """
    check_picture(path)
    groups = _groups(comparison.points)
    if not groups:
        raise NoAnswerError("nothing is predicted, so there is nothing to draw", file=path)
    figure = new_figure(14, 6.4)
    left, right = figure.subplots(1, 2)
    for index, (name, points) in enumerate(groups.items()):
        label = name if index < MOST_IN_LEGEND else None
        _scatter(left, points, index, label, [(p.predicted_s or 0.0) * 1e6 for p in points])
        _scatter(right, points, index, None, [100 * (p.error or 0.0) for p in points])
    _frame_times(left, comparison.points)
    _frame_errors(right)
    figure.suptitle(title)
    figure.legend(loc="outside lower center", ncols=4, fontsize="small", frameon=False)
    save_figure(figure, path)


def _groups(points: Sequence[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        if point.predicted_s is not None:
            name = f"{point.labels['operator']}, {point.labels['accelerator']}"
            groups.setdefault(name, []).append(point)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _scatter(
    axes: Axes, points: Sequence[Point], index: int, label: str | None, values: Sequence[float]
) -> None:
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    for apart in (False, True):
        chosen = [
            ((p.measured_s or 0.0) * 1e6, value)
            for p, value in zip(points, values, strict=True)
            if (p.apart is not None) == apart
        ]
        if not chosen:
            continue
        axes.plot(
            *zip(*chosen, strict=True),
            linestyle="none",
            marker=marker,
            markersize=4,
            color=color,
            markerfacecolor="none" if apart else color,
            markeredgewidth=0.7,
            alpha=0.45 if apart else 0.7,
            label=label,
        )
        label = None


def _frame_times(axes: Axes, points: Sequence[Point]) -> None:
    known = [point for point in points if point.predicted_s is not None]
    times = [1e6 * (p.measured_s or 0.0) for p in known] + [1e6 * (p.predicted_s or 0.0) for p in known]
    ends = [min(times) / 1.5, max(times) * 1.5]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.fill_between(
        ends,
        [end * (1 - BAND) for end in ends],
        [end * (1 + BAND) for end in ends],
        color="0.85",
        zorder=0,
        label=f"within {100 * BAND:.0f} %",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_xlabel("measured time (us)")
    axes.set_ylabel("predicted time (us)")
    axes.set_title("Predicted against measured")
    axes.grid(alpha=0.3)


def _frame_errors(axes: Axes) -> None:
    axes.axhspan(-100 * BAND, 100 * BAND, color="0.85", zorder=0)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=50)
    axes.set_yticks(
        [-100, -50, -20, 0, 20, 50, 100, 500], ["-100", "-50", "-20", "0", "20", "50", "100", "500"]
    )
    axes.set_xlabel("measured time (us)")
    axes.set_ylabel("predicted / measured - 1 (%)")
    axes.set_title("Error (hollow: scored apart)")
    axes.grid(alpha=0.3)
