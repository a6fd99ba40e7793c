"""Heat map of a sweep over two of its fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.errors import PlannerError, suggest
from planner.report.sweep_table import field_names, value_words
from planner.studies.sweep.rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_VALUES = 40
MOST_WORDS = 150
"""Cells that are labelled with their value."""


def heat_fields(
    rows: Sequence[Row], fields: Sequence[str], wanted: Sequence[str] | None
) -> tuple[str, str] | None:
    """The two fields of the heat map: as wanted, else the first two with a few values each; None: there are no two.

    Raises:
        PlannerError: a wanted field is not swept or has too many values.
    """
    if wanted is None:
        few = [path for path in fields if 1 < len(_values(rows, path)) <= MOST_VALUES]
        return (few[0], few[1]) if len(few) > 1 else None
    if len(wanted) != 2:
        raise PlannerError("two swept fields are accepted, for example devices,seq_len", field="--heat")
    names = field_names(fields) | {path: path for path in fields}
    by_name = {name: path for path, name in field_names(fields).items()} | {path: path for path in fields}
    for name in wanted:
        if name not in by_name:
            raise PlannerError(f"'{name}' is not swept; {suggest(name, by_name)}", field="--heat")
        count = len(_values(rows, by_name[name]))
        if count > MOST_VALUES:
            raise PlannerError(
                f"{names[by_name[name]]} has {count} values; at most {MOST_VALUES} are drawn", field="--heat"
            )
    return by_name[wanted[0]], by_name[wanted[1]]


def draw_heat(axes: Axes, rows: Sequence[Row], over: tuple[str, str]) -> None:
    """Highest throughput per device of the plans that fit, over two fields; hatched where none does."""
    across, up = over
    columns, lines = _values(rows, across), _values(rows, up)
    cells = np.full((len(lines), len(columns)), np.nan)
    for row in rows:
        if row["status"] == "ok" and row["fits"]:
            place = (lines.index(row[up]), columns.index(row[across]))
            cells[place] = np.fmax(cells[place], row["tokens_per_s_per_device"])
    axes.set_facecolor("0.85")
    axes.patch.set_hatch("//")
    axes.patch.set_edgecolor("0.6")
    picture = axes.imshow(cells, origin="lower", aspect="auto", cmap="viridis")
    assert axes.figure is not None, "drawn in a figure"
    bar = axes.figure.colorbar(picture, ax=axes)
    bar.set_label("throughput (tokens/s per device)")
    if cells.size <= MOST_WORDS:
        _label(axes, cells)
    names = field_names([across, up])
    axes.set_xticks(range(len(columns)), [value_words(across, v) for v in columns], rotation=_turn(columns))
    axes.set_yticks(range(len(lines)), [value_words(up, value) for value in lines])
    axes.set_xlabel(names[across])
    axes.set_ylabel(names[up])
    missing = " (hatched: nothing fits)" if np.isnan(cells).any() else ""
    axes.set_title(f"Best throughput per device{missing}")


def _label(axes: Axes, cells: Any) -> None:
    middle = (np.nanmin(cells) + np.nanmax(cells)) / 2
    for line, column in zip(*np.nonzero(~np.isnan(cells)), strict=True):
        value = cells[line, column]
        color = "black" if value > middle else "white"
        axes.text(column, line, f"{value:,.0f}", ha="center", va="center", color=color, fontsize="small")


def _values(rows: Sequence[Row], path: str) -> list[Any]:
    """The values of a field: numbers by size, others as they occur."""
    found = list(dict.fromkeys(row[path] for row in rows))
    numbers = all(isinstance(value, int | float) for value in found)
    return sorted(found) if numbers else found


def _turn(values: Sequence[Any]) -> int:
    return 30 if len(values) > 8 or any(len(str(value)) > 8 for value in values) else 0
