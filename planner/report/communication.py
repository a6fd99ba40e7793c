"""The transfers of one step as a table: alike ones together, the costliest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.jobs.prediction import CommunicationRow
from planner.report.tables import NARROW, new_table
from planner.report.text import seconds

if TYPE_CHECKING:
    from rich.table import Table


def communication_table(rows: Sequence[CommunicationRow], *, limit: int = 12, width: int = 120) -> Table:
    """One row per kind of transfer.

    Args:
        rows: of one prediction; those that differ only in the tensor are joined.
        limit: rows shown.
        width: columns of the terminal.
    """
    groups = sorted(alike(rows), key=lambda group: -sum(row.seconds for row in group))
    shown = groups[:limit]
    title = "Communication of one step" + (
        f" (first {limit} of {len(groups)})" if len(groups) > limit else ""
    )
    cells = [_cells(group) for group in shown]
    headings = tuple(
        name for name in cells[0] if width >= NARROW or name not in ("pass", "MiB/call", "calls")
    )
    table = new_table(title, headings, left=("what",))
    for row in cells:
        table.add_row(*(row[name] for name in headings))
    return table


def alike(rows: Sequence[CommunicationRow]) -> list[list[CommunicationRow]]:
    """Rows that differ only in the tensor, together; groups in the order of their first row."""
    groups: dict[tuple[object, ...], list[CommunicationRow]] = {}
    for row in rows:
        kind = (
            row.collective,
            row.algorithm,
            row.axis,
            row.pass_,
            row.ranks,
            row.ranks_per_level,
            row.bytes_per_call,
        )
        groups.setdefault(kind, []).append(row)
    return list(groups.values())


def _cells(group: Sequence[CommunicationRow]) -> dict[str, str]:
    first = group[0]
    more = f" and {len(group) - 1} more" if len(group) > 1 else ""
    return {
        "what": first.what + more,
        "collective": f"{first.collective} ({first.algorithm})" if first.algorithm else first.collective,
        "pass": first.pass_,
        "ranks": f"{first.axis} {first.ranks} ({'×'.join(f'{ranks:g}' for ranks in first.ranks_per_level)})",
        "MiB/call": f"{first.bytes_per_call / 2**20:,.1f}",
        "calls": f"{sum(row.calls_per_step for row in group):,.0f}",
        "time": seconds(sum(row.seconds for row in group)),
        "exposed": seconds(sum(row.exposed_s for row in group)),
    }
