"""Panels of a sweep's pictures that are curves and points."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from planner.report.sweep_table import field_names, value_words
from planner.report.text import GIB
from planner.studies.sweep.rows import Row
from planner.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 6
"""More combinations of the other fields are drawn as points below their upper (or lower) edge."""

WIDEST = 1.5
"""Memory of points that are drawn, over that of the device."""

COLORS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#cc7711", "#66ccee")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
"""Told apart in grey too."""

GREY = "0.55"

Measure = Callable[[Row], float]


def x_field(rows: Sequence[Row], fields: Sequence[str]) -> str | None:
    """What curves run along: devices where they vary, else the first numeric field; None: no field is numeric."""
    ordered = ["devices", *fields] if rows and "devices" in rows[0] else list(fields)
    for path in ordered:
        values = {row[path] for row in rows}
        if len(values) > 1 and all(_is_number(value) for value in values):
            return path
    return None


def draw_scaling(axes: Axes, rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Tokens per second against devices, with what proportional growth from the smallest count would give."""
    from matplotlib.ticker import LogLocator, NullLocator

    _curves(axes, rows, fields, "devices", lambda row: float(row["tokens_per_s"]), best=max)
    least = min(row["devices"] for row in rows)
    first = max(row["tokens_per_s"] for row in rows if row["devices"] == least)
    ends = [least, max(row["devices"] for row in rows)]
    ideal = [first * end / least for end in ends]
    axes.plot(ends, ideal, color="black", linewidth=1.0, linestyle=(0, (1, 2)), label="proportional")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: format_count(value))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("throughput (tokens/s)")
    axes.set_title("Scaling")
    _finish(axes, rows, "devices")


def draw_utilisation(axes: Axes, rows: Sequence[Row], fields: Sequence[str], along: str) -> None:
    """Model FLOPs utilisation along a field."""
    _curves(axes, rows, fields, along, lambda row: 100 * float(row["mfu"]), best=max)
    _from_zero(axes)
    axes.set_ylabel("model FLOPs utilisation (%)")
    axes.set_title("Utilisation")
    _finish(axes, rows, along)


def draw_cost(axes: Axes, rows: Sequence[Row], fields: Sequence[str], along: str) -> None:
    """Cost of a million tokens along a field."""
    priced = [row for row in rows if row["cost_per_million_tokens"] is not None]
    _curves(axes, priced, fields, along, lambda row: float(row["cost_per_million_tokens"]), best=min)
    _from_zero(axes)
    axes.set_ylabel("cost per million tokens (currency of the price)")
    axes.set_title("Cost")
    _finish(axes, priced, along)


def draw_tradeoff(axes: Axes, rows: Sequence[Row], fields: Sequence[str]) -> None:
    """Throughput of a device against the memory that it uses, with the points that none beats in both."""
    fitting = [row for row in rows if row["fits"]]
    others = [row for row in rows if not row["fits"]]
    by = _few_valued(rows, fields)
    if others:
        axes.plot(*_points(others), "x", color=GREY, markersize=6, label=_unfit_words(others), zorder=2)
    for style, (label, members) in zip(itertools.count(), _grouped(fitting, by), strict=False):
        axes.plot(
            *_points(members),
            linestyle="none",
            marker=MARKERS[style % len(MARKERS)],
            color=COLORS[style % len(COLORS)],
            markersize=6,
            alpha=0.75,
            label=label,
            zorder=3,
        )
    front = _front(list(zip(*_points(fitting), strict=True)))
    axes.step(
        *zip(*front, strict=True), where="post", color="black", linewidth=1.2, label="Pareto front", zorder=4
    )
    _shade_beyond(axes, {row["capacity_bytes"] / GIB for row in rows})
    _from_zero(axes)
    axes.set_xlabel("memory used on the fullest device (GiB)")
    axes.set_ylabel("throughput (tokens/s per device)")
    axes.set_title("Throughput against memory")
    _dress(axes)


def _curves(
    axes: Axes, rows: Sequence[Row], fields: Sequence[str], along: str, measure: Measure, best: Any
) -> None:
    """One line for each combination of the other fields, or points and their edge when there are many."""
    others = [path for path in fields if path != along and len({str(row[path]) for row in rows}) > 1]
    groups = _grouped(rows, others)
    if len(groups) > MOST_LINES:
        axes.plot(
            [row[along] for row in rows], [measure(row) for row in rows], ".", color=GREY, label="all points"
        )
        edge = "highest" if best is max else "lowest"
        groups = [(f"{edge} of all", _edge(rows, along, measure, best))]
    for style, (label, members) in enumerate(groups):
        ordered = sorted(members, key=lambda row: row[along])
        axes.plot(
            [row[along] for row in ordered],
            [measure(row) for row in ordered],
            color=COLORS[style],
            marker=MARKERS[style],
            linestyle=DASHES[style],
            linewidth=1.5,
            markersize=5,
            label=label or "best plan",
        )


def _edge(rows: Sequence[Row], along: str, measure: Measure, best: Any) -> list[Row]:
    values = sorted({row[along] for row in rows})
    return [best((row for row in rows if row[along] == value), key=measure) for value in values]


def _grouped(rows: Sequence[Row], by: Sequence[str]) -> list[tuple[str, list[Row]]]:
    """Rows by their values of some fields, in the order in which those occur, with the words for them."""
    names = field_names(by)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        words = ", ".join(f"{names[path]} {value_words(path, row[path])}" for path in by)
        groups.setdefault(words, []).append(row)
    return list(groups.items())


def _few_valued(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    """The field by which points are told apart: the first of a few values."""
    for path in fields:
        if 1 < len({str(row[path]) for row in rows}) <= MOST_LINES:
            return [path]
    return []


def _points(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [row["device_used_bytes"] / GIB for row in rows], [row["tokens_per_s_per_device"] for row in rows]


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points, by memory, that are faster than all that use less."""
    front: list[tuple[float, float]] = []
    for memory, speed in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or speed > front[-1][1]:
            front.append((memory, speed))
    return front


def _shade_beyond(axes: Axes, capacities: Collection[float]) -> None:
    """Mark the memory of a device, where all points have the same; what needs far more is beyond the edge."""
    right = 1.04 * min(axes.dataLim.x1, WIDEST * max(capacities))
    right = max(right, 1.04 * max(capacities))
    axes.set_xlim(0, right)
    if len(capacities) == 1:
        (capacity,) = capacities
        axes.axvline(
            capacity, color="black", linestyle="--", linewidth=1, label=f"device, {capacity:.0f} GiB"
        )
        axes.axvspan(capacity, right, facecolor="0.88", hatch="//", edgecolor="0.7")


def _unfit_words(rows: Sequence[Row]) -> str:
    beyond = sum(row["device_used_bytes"] > WIDEST * row["capacity_bytes"] for row in rows)
    return f"does not fit ({beyond} beyond the edge)" if beyond else "does not fit"


def _from_zero(axes: Axes) -> None:
    axes.set_ylim(0, 1.08 * axes.dataLim.y1)


def _finish(axes: Axes, rows: Sequence[Row], along: str) -> None:
    """The axis along which curves run: logarithmic over more than a factor of four, ticks at the values when they are few."""
    values = sorted({row[along] for row in rows})
    if values[0] > 0 and values[-1] > 4 * values[0]:
        axes.set_xscale("log", base=2)
    if len(values) <= 12:
        axes.set_xticks(
            values, [value_words(along, value) for value in values], rotation=30 if len(values) > 8 else 0
        )
        axes.minorticks_off()
    axes.set_xlabel(field_names([along])[along])
    _dress(axes)


def _dress(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", framealpha=0.85)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
