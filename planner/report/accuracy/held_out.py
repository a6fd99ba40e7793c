"""Tables of published runs that no constant was fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from planner.errors import PlannerError
from planner.report.accuracy.markdown import percent, renewed, table
from planner.report.accuracy.runs import largest_shares
from planner.report.accuracy.sources import Json

BEGIN, END = "<!-- runs: begin -->", "<!-- runs: end -->"
"""Lines of a page between which its tables stand."""

WORST = 10


def read_page(file: str) -> str:
    """The text of a page whose tables can be renewed.

    Raises:
        PlannerError: a page that cannot be read, or that has no marks.
    """
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise PlannerError("cannot be read", file=file) from None
    renewed(text, (BEGIN, END), "", file)
    return text


def renewed_page(text: str, runs: Json, file: str) -> str:
    """The text of a page with its tables renewed.

    Args:
        runs: answer of ``plan validate runs``.
    """
    return renewed(text, (BEGIN, END), held_out_section(runs), file)


def held_out_section(runs: Json) -> str:
    """Errors by source and device, refused rows with their reasons, and the largest errors."""
    overall = runs["overall"]
    first = (
        f"{len(runs['rows'])} rows, {overall['n']} of them complete. Means over the groups of complete rows, one vote each:"
        f" median error {percent(overall['macro_median_ape'])} (groups of three rows or more), inside the 80 % interval"
        f" {percent(overall['coverage'], digits=0)}; median width of that interval"
        f" {percent(overall['interval_width_median'], digits=0)}.\n"
    )
    refused = table(
        ("why rows have no error", "rows"), ((item["reason"], str(item["rows"])) for item in runs["refused"])
    )
    parts = [first, _groups(runs)]
    parts += [refused] if runs["refused"] else []
    return "\n".join([*parts, "The largest errors of complete rows:\n", _worst(runs)])


def _groups(runs: Json) -> str:
    headings = ("source", "accelerator", "rows", "predicted", "median", "mean", "90th pct.", "bias")
    return table((*headings, "in interval", "width"), _group_rows(runs))


def _group_rows(runs: Json) -> Iterator[tuple[str, ...]]:
    for kind, words in (("groups", ""), ("incomplete_groups", " (incomplete)")):
        for group in runs[kind]:
            yield (
                group["family"] + words,
                group["accelerator"],
                str(group["n"]),
                str(group["predicted"]),
                *(percent(group[name]) for name in ("median_ape", "mean_ape", "p90_ape")),
                percent(group["bias"], sign=True),
                percent(group["coverage"], digits=0),
                percent(group["interval_width_median"], digits=0),
            )


def _worst(runs: Json) -> str:
    rows = [row for row in runs["rows"] if row["scored"] == "complete" and row["error"] is not None]
    worst = sorted(rows, key=lambda row: -abs(math.log1p(row["error"])))[:WORST]
    return table(
        ("run", "measured", "predicted", "error", "where the predicted step goes"),
        (
            (
                row["id"],
                f"{row['measured_s']:.4g} s",
                f"{row['predicted_s']:.4g} s",
                percent(row["error"], sign=True, digits=0),
                largest_shares(row["shares"] or {}),
            )
            for row in worst
        ),
    )
