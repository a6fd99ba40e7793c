"""The best step over a range of one hardware figure, with the places where the best layout switches."""

from __future__ import annotations

import math
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

MOST_NAMED = 12
"""Bands that are named in the legend, the widest."""

NARROWEST = 0.025
"""Share of the range that a band needs to bear its number."""


def draw_vary(path: str | Path, found: Vary) -> None:
    """Step time against the figure: the best layout's, today's layout kept, and a band for each best layout.

    Raises:
        PlannerError: the ending names no format, or the file cannot be written.
    """
    edges = _edges(found)
    named = _named(edges)
    figure = new_figure(_WIDTH, _HEIGHT + _LEGEND_LINE * len(named))
    axes = figure.add_subplot()
    _draw_bands(axes, found, edges, named)
    _draw_curves(axes, found)
    if edges[0] <= found.now <= edges[-1]:
        axes.axvline(found.now, color="black", linewidth=1.0, linestyle=":")
        axes.text(found.now, 0.99, " now", transform=axes.get_xaxis_transform(), va="top", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    _round_ticks(axes, found)
    axes.set_xlabel(found.words)
    axes.set_ylabel("step time (s)")
    axes.set_title(f"Best layout by {found.words}")
    rest = len(found.spans) - len(named)
    title = f"the {len(named)} widest bands; {rest} more are in the table" if rest else None
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        fontsize=8,
        frameon=False,
        title=title,
        title_fontsize=8,
    )
    save_figure(figure, path)


def _edges(found: Vary) -> list[float]:
    """Values where bands begin and end: a switch is drawn in the middle of what is left between two spans."""
    cuts = [(left.end * right.begin) ** 0.5 for left, right in pairwise(found.spans)]
    return [found.spans[0].begin, *cuts, found.spans[-1].end]


def _named(edges: list[float]) -> list[int]:
    """The widest bands, in their order."""
    widths = [end / begin for begin, end in pairwise(edges)]
    widest = sorted(range(len(widths)), key=lambda place: -widths[place])[:MOST_NAMED]
    return sorted(widest)


def _round_ticks(axes: Axes, found: Vary) -> None:
    """Ticks at 1, 2 and 5 times powers of ten (bytes: at powers of two), in the words of the tables."""
    from matplotlib.ticker import LogLocator, NullLocator

    bytes_of_memory = found.unit == "bytes"
    axes.xaxis.set_major_locator(
        LogLocator(base=2.0, numticks=12) if bytes_of_memory else LogLocator(subs=(1.0, 2.0, 5.0))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: value_words(value, found.unit))


def _draw_bands(axes: Axes, found: Vary, edges: list[float], named: list[int]) -> None:
    """A band for each span with the number of its row in the table, where there is room for it."""
    whole = math.log(edges[-1] / edges[0])
    for place, (begin, end) in enumerate(pairwise(edges)):
        layout = found.spans[place].layout
        words = "nothing fits" if layout is None else layout_words(layout)
        label = f"{place + 1}: {words}" if place in named else None
        axes.axvspan(begin, end, color=_BANDS[place % 2], lw=0, label=label)
        if math.log(end / begin) >= NARROWEST * whole:
            middle = (begin * end) ** 0.5
            where = axes.get_xaxis_transform()
            axes.text(middle, 0.02, str(place + 1), transform=where, ha="center", fontsize=9)
    for cut in edges[1:-1]:
        axes.axvline(cut, color="0.5", linewidth=0.6)


def _draw_curves(axes: Axes, found: Vary) -> None:
    best = [(point.value, point.best.step_time_s) for point in found.points if point.best is not None]
    kept = [(point.value, point.kept_s) for point in found.points if point.kept_s is not None]
    if kept:
        axes.plot(*zip(*kept, strict=True), color="#ee6677", linestyle="--", label="today's layout kept")
    if best:
        axes.plot(*zip(*best, strict=True), color="#4477aa", marker=".", label="best layout")
