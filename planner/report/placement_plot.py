"""The matrix of measured links before and after placement, with the links that the plan uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from planner.report.pictures import check_picture, new_figure, save_figure
from planner.report.text import seconds
from planner.solvers.placement.links_used import place_pairs
from planner.solvers.placement.place import Placement
from planner.solvers.placement.traffic import Pattern

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

MARKS: Mapping[Pattern, tuple[str, str, str]] = {
    "exchange": ("D", "#f2a65a", "all-to-all"),
    "ring": ("s", "#d9455f", "ring"),
    "chain": ("o", "white", "pipeline hop"),
}
"""Mark, colour and words of each pattern, the last on top."""

MARK_WIDTH = 200.0
"""Points of the axes' width that marks of all nodes fill together."""

EDGE_WIDTH = 0.8

NAMED_NODES = 40
"""Up to so many nodes the axes carry their names, and marks an outline."""


def draw_placement(path: str | Path, placement: Placement, title: str) -> None:
    """Draw the matrix with nodes in rank order and as placed, side by side.

    Rows send to columns; both stand in the order of the ranks that the nodes play.

    Args:
        path: ends in .png, .svg or .pdf.

    Raises:
        PlannerError: the ending is another one, or the file cannot be written.
    """
    check_picture(path)
    figure = new_figure(15, 8)
    left, right = figure.subplots(1, 2)
    count = len(placement.links)
    orders = (np.arange(count), placement.found.nodes)
    words = (
        f"rank order: step {seconds(placement.step_s(placed=False))}",
        f"placed: step {seconds(placement.step_s(placed=True))}",
    )
    for axes, nodes, label in zip((left, right), orders, words, strict=True):
        image = _draw_matrix(axes, placement, nodes)
        axes.set_title(label)
    figure.colorbar(image, ax=[left, right], shrink=0.8, label="measured rate (GB/s)")
    figure.suptitle(title)
    handles, labels = _legend(left, placement)
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    save_figure(figure, path)


def _draw_matrix(
    axes: Axes, placement: Placement, nodes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> AxesImage:
    rates = placement.links.bandwidth[np.ix_(nodes, nodes)] / 1e9
    shown = np.where(np.isfinite(rates), rates, np.nan)
    image = axes.imshow(shown, cmap="viridis", vmin=0.0, vmax=float(np.nanmax(shown)))
    count = len(nodes)
    size = float(np.clip((MARK_WIDTH / count) ** 2, 1.0, 120.0))
    outline = EDGE_WIDTH if count <= NAMED_NODES else 0.0
    for pattern, (mark, color, _) in MARKS.items():
        pairs = sorted(
            {
                pair
                for change in placement.terms
                if change.term.pattern == pattern
                for group in change.term.groups
                for pair in place_pairs(change.term, group)
            }
        )
        if pairs:
            rows, columns = zip(*pairs, strict=True)
            axes.scatter(
                columns, rows, s=size, marker=mark, facecolors=color, edgecolors="black", linewidths=outline
            )
    axes.set_xlabel("receiving node, in the order of ranks")
    axes.set_ylabel("sending node, in the order of ranks")
    if count <= NAMED_NODES:
        names = placement.names(nodes)
        axes.set_xticks(range(count), names, rotation=90, fontsize=7)
        axes.set_yticks(range(count), names, fontsize=7)
    return image


def _legend(axes: Axes, placement: Placement) -> tuple[list[Artist], list[str]]:
    """A mark for each pattern that the plan has, with its axes."""
    handles: list[Artist] = []
    labels: list[str] = []
    for pattern, (mark, color, words) in MARKS.items():
        named = sorted({change.term.axis for change in placement.terms if change.term.pattern == pattern})
        if named:
            handles += axes.plot([], [], mark, markerfacecolor=color, markeredgecolor="black")
            labels.append(f"{words} ({', '.join(named)})")
    return handles, labels
