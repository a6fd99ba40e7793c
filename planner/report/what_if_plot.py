"""The best step over a range of one hardware figure, with the places where the best layout switches."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from planner.report.pictures import new_figure, save_figure
from planner.report.text import layout_words
from planner.report.what_if import value_words
from planner.studies.what_if import Vary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BANDS = ("0.93", "0.83")
_WIDTH, _HEIGHT = 9.0, 5.0
_LEGEND_LINE = 0.22
"""Inches that each entry of the legend takes."""


def draw_vary(path: str | Path, found: Vary) -> None:
    """Step time against the figure: the best layout's, today's layout kept, and a band for each best layout.

    Raises:
        PlannerError: the ending names no format, or the file cannot be written.
    """
    figure = new_figure(_WIDTH, _HEIGHT + _LEGEND_LINE * len(found.spans))
    axes = figure.add_subplot()
    _draw_bands(axes, found)
    _draw_curves(axes, found)
    axes.axvline(found.now, color="black", linewidth=1.0, linestyle=":")
    axes.text(found.now, 0.99, " now", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(found.points[0].value, found.points[-1].value)
    _round_ticks(axes, found)
    axes.set_xlabel(found.words)
    axes.set_ylabel("step time (s)")
    axes.set_title(f"Best layout by {found.words}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), fontsize=8, frameon=False)
    save_figure(figure, path)


def _round_ticks(axes: Axes, found: Vary) -> None:
    """Ticks at 1, 2 and 5 times powers of ten, in the words of the tables."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: value_words(value, found.unit))


def _draw_bands(axes: Axes, found: Vary) -> None:
    """A band for each span, numbered; the switch is drawn in the middle of what is left between two spans."""
    spans = found.spans
    cuts = [(left.end * right.begin) ** 0.5 for left, right in pairwise(spans)]
    edges = [spans[0].begin, *cuts, spans[-1].end]
    for place, span in enumerate(spans):
        words = "nothing fits" if span.layout is None else layout_words(span.layout)
        begin, end = edges[place], edges[place + 1]
        axes.axvspan(begin, end, color=_BANDS[place % 2], lw=0, label=f"{place + 1}: {words}")
        middle = (begin * end) ** 0.5
        axes.text(
            middle, 0.02, str(place + 1), transform=axes.get_xaxis_transform(), ha="center", fontsize=10
        )
    for cut in cuts:
        axes.axvline(cut, color="0.5", linewidth=0.8)


def _draw_curves(axes: Axes, found: Vary) -> None:
    best = [(point.value, point.best.step_time_s) for point in found.points if point.best is not None]
    kept = [(point.value, point.kept_s) for point in found.points if point.kept_s is not None]
    if kept:
        axes.plot(*zip(*kept, strict=True), color="#ee6677", linestyle="--", label="today's layout kept")
    if best:
        axes.plot(*zip(*best, strict=True), color="#4477aa", marker=".", label="best layout")
