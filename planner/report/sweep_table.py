"""The rows of a sweep for people: the table, what failed and why, the best points."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.report.tables import new_table
from planner.report.text import gib, layout_words, percent, seconds
from planner.studies.sweep.fields import HARDWARE, LAYOUT, Value
from planner.studies.sweep.rows import KNOB_COLUMNS, Row
from planner.studies.sweep.table import swept_fields
from planner.studies.sweep.values import FACTOR
from planner.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console
    from rich.table import Table

REASONS = 5
"""Kinds of failures that are told one by one."""

CELL = 48
"""Letters of a reason in the table; the lines below it say the whole."""

RESULTS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "step_time_s": ("step", seconds),
    "tokens_per_s": ("tokens/s", lambda value: f"{value:,.0f}"),
    "tokens_per_s_per_device": ("per device", lambda value: f"{value:,.0f}"),
    "mfu": ("MFU", percent),
    "device_used_bytes": ("memory", gib),
    "cost_per_million_tokens": ("per 1M tokens", lambda value: f"{value:#.4g}"),
}
"""Heading and format of the results that are printed."""

_UNITS: Mapping[str, Callable[[float], str]] = {
    "bandwidth": format_rate,
    "link": format_rate,
    "memory": format_bytes,
    "latency": format_seconds,
    "launch": format_seconds,
    "kernel_start": format_seconds,
}


def print_sweep(console: Console, table: pa.Table, *, top: int, quiet: bool) -> None:
    """The table, or its best rows when it is long, and what there is to say about the rest.

    Args:
        top: most rows that are printed.
        quiet: the table only.
    """
    rows, fields = table.to_pylist(), swept_fields(table)
    console.print(_rows_table(rows, fields, top))
    if quiet:
        return
    for line in (*_failures(rows), *_best(rows, fields)):
        console.print(line)


def sweep_summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Counts of a table as plain data."""
    return {"points": len(rows), "status": dict(Counter(row["status"] for row in rows).most_common())}


def field_names(fields: Sequence[str]) -> dict[str, str]:
    """Short headings of swept fields: the last part of the path where that is clear."""
    bare = {path: path.removeprefix(HARDWARE).removesuffix(FACTOR) for path in fields}
    last = {
        path: name if path.startswith(HARDWARE) else name.rpartition(".")[2] for path, name in bare.items()
    }
    names = list(last.values())
    return {path: name if names.count(name) == 1 else path for path, name in last.items()}


def value_words(path: str, value: Value) -> str:
    """A swept value in the unit that reads best."""
    if value is None:
        return "-"
    if path.endswith(FACTOR):
        return f"×{value:g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if path.startswith(f"{HARDWARE}peak_flops"):  # of all precisions, or of one
        return format_rate(value, "FLOP/s")
    if path.startswith(HARDWARE):
        known = (words for ending, words in _UNITS.items() if path.endswith(ending))
        return next(known, lambda number: f"{number:g}")(value)
    return f"{value:,}" if isinstance(value, int) and value >= 100_000 else f"{value:g}"


def row_layout(row: Row) -> str:
    """The layout of a row in words."""
    knobs = {name: row[name] for name in KNOB_COLUMNS if row.get(name) is not None}
    knobs |= {name: json.loads(knobs[name]) for name in ("shard", "offload") if name in knobs}
    return layout_words(knobs)


def _rows_table(rows: Sequence[Row], fields: Sequence[str], top: int) -> Table:
    good = [row for row in rows if row["status"] == "ok"]
    title = f"{len(rows):,} point{'' if len(rows) == 1 else 's'}"
    shown: Sequence[Row] = rows
    if len(rows) > top:
        fitting = [row for row in good if row["fits"]]
        shown = sorted(fitting, key=lambda row: -row["tokens_per_s_per_device"])[:top]
        title += f", the {len(shown)} with most tokens/s per device"
    columns = [name for name in RESULTS if any(row[name] is not None for row in good)]
    # Where knobs are swept they stand in columns of their own, and only failures need words.
    words = not all(row["status"] == "ok" for row in shown) or not any(
        path.startswith(LAYOUT) for path in fields
    )
    names = field_names(fields)
    headings = [*names.values(), *(RESULTS[name][0] for name in columns)]
    texts = [names[path] for path in fields if any(isinstance(row[path], str) for row in rows)]
    table = new_table(title, [*headings, *(["layout"] if words else [])], left=(*texts, "layout"))
    for row in shown:
        cells = [value_words(path, row[path]) for path in fields]
        cells += ["-" if row[name] is None else RESULTS[name][1](row[name]) for name in columns]
        table.add_row(*cells, *([_layout_cell(row)] if words else []))
    return table


def _layout_cell(row: Row) -> str:
    if row["status"] != "ok":
        words = f"{row['status']}: {row['message']}"
        return words if len(words) <= CELL else f"{words[: CELL - 1].rstrip()}…"
    return row_layout(row) + ("" if row["fits"] else " (does not fit)")


def _failures(rows: Sequence[Row]) -> list[str]:
    unfit = sum(row["status"] == "ok" and not row["fits"] for row in rows)
    fit = [f"{unfit:,} of {len(rows):,} points do not fit in memory"] if unfit else []
    counts = Counter((row["status"], row["message"]) for row in rows if row["status"] != "ok")
    if not counts:
        return fit
    return [*fit, *_reasons(counts, len(rows))]


def _reasons(counts: Counter[tuple[str, str]], points: int) -> list[str]:
    lines = [f"{sum(counts.values()):,} of {points:,} points have no plan:"]
    lines += [
        f"  {count:,} × {status}: {message}" for (status, message), count in counts.most_common(REASONS)
    ]
    others = sum(counts.values()) - sum(count for _, count in counts.most_common(REASONS))
    return [*lines, f"  {others:,} for other reasons (column message)"] if others else lines


def _best(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    fitting = [row for row in rows if row["status"] == "ok" and row["fits"]]
    if not fitting:
        return ["no point has a plan that fits"]
    names = field_names(fields)

    def at(row: Row) -> str:
        return ", ".join(f"{names[path]} {value_words(path, row[path])}" for path in fields)

    fastest = max(fitting, key=lambda row: row["tokens_per_s"])
    most = max(fitting, key=lambda row: row["tokens_per_s_per_device"])
    lines = [
        f"most tokens/s: {fastest['tokens_per_s']:,.0f} at {at(fastest)}",
        f"most per device: {most['tokens_per_s_per_device']:,.0f} at {at(most)}",
    ]
    priced = [row for row in fitting if row["cost_per_million_tokens"] is not None]
    if priced:
        least = min(priced, key=lambda row: row["cost_per_million_tokens"])
        cost = least["cost_per_million_tokens"]
        lines.append(f"cheapest: {cost:#.4g} per million tokens at {at(least)}")
    return lines
