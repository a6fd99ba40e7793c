"""Pictures of a sweep: scaling, utilisation, memory against throughput, cost, and a heat map over two fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import NoAnswerError, PlannerError
from planner.report.pictures import SUFFIXES, check_picture, new_figure, save_figure
from planner.report.sweep_heat import draw_heat, heat_fields
from planner.report.sweep_panels import draw_cost, draw_scaling, draw_tradeoff, draw_utilisation, x_field
from planner.studies.sweep.rows import Row
from planner.studies.sweep.table import swept_fields

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 7.4, 5.4
"""Inches of one panel."""

Panel = Callable[["Axes"], None]


def draw_sweep(target: str | Path, table: pa.Table, *, heat: Sequence[str] | None = None) -> list[Path]:
    """Draw what a sweep shows.

    Args:
        target: a folder, which gets one picture each, or a picture file, which gets them side by side.
        heat: two swept fields for the heat map; None: the first two that take a few values each.

    Returns:
        The files that were written.

    Raises:
        NoAnswerError: no point has a plan that fits.
        PlannerError: the fields of the heat map are not swept, or a file cannot be written.
    """
    rows, fields = table.to_pylist(), swept_fields(table)
    good = [row for row in rows if row["status"] == "ok"]
    panels = _panels(good, rows, fields, heat)
    title = _title(good)
    path = Path(target)
    if path.suffix.lower() in SUFFIXES:
        _draw(path, list(panels.values()), title)
        return [path]
    if path.suffix:
        check_picture(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlannerError(f"cannot be made a folder of pictures: {error.strerror}", file=path) from None
    for name, panel in panels.items():
        _draw(path / f"{name}.png", [panel], title)
    return [path / f"{name}.png" for name in panels]


def _panels(
    good: Sequence[Row], rows: Sequence[Row], fields: Sequence[str], heat: Sequence[str] | None
) -> dict[str, Panel]:
    fitting = [row for row in good if row["fits"]]
    if not fitting:
        raise NoAnswerError("no point has a plan that fits, so there is nothing to draw")
    over = heat_fields(rows, fields, heat)
    along = x_field(fitting, fields)
    panels: dict[str, Panel] = {}
    if along == "devices":
        panels["scaling"] = lambda axes: draw_scaling(axes, fitting, fields)
    if along is not None:
        panels["utilisation"] = lambda axes: draw_utilisation(axes, fitting, fields, along)
    panels["tradeoff"] = lambda axes: draw_tradeoff(axes, good, fields)
    if along is not None and any(row["cost_per_million_tokens"] is not None for row in fitting):
        panels["cost"] = lambda axes: draw_cost(axes, fitting, fields, along)
    if over is not None:
        panels["heat"] = lambda axes: draw_heat(axes, rows, over)
    return panels


def _title(rows: Sequence[Row]) -> str:
    """Model and cluster where all points have the same."""
    words = []
    for name, many in (("model", "models"), ("cluster", "clusters")):
        values = {row[name] for row in rows}
        words.append(values.pop() if len(values) == 1 else f"{len(values)} {many}")
    return " on ".join(words)


def _draw(path: Path, panels: Sequence[Panel], title: str) -> None:
    columns = min(len(panels), 2)
    lines = -(-len(panels) // columns)
    figure = new_figure(WIDTH * columns, HEIGHT * lines)
    places = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, panel in zip(places, panels, strict=False):
        panel(axes)
    for axes in places[len(panels) :]:
        axes.remove()
    figure.suptitle(title)
    save_figure(figure, path)
