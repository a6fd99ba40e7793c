"""Real runs of shardings: one row per plan, then what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.sharding.cases import ShardingCase
    from planner.validation.sharding.study import ShardingOutcome

MOST_DIFFERENCES = 4


def outcome_json(case: ShardingCase, outcome: ShardingOutcome) -> dict[str, Any]:
    """One run as plain data."""
    return {
        "model": case.model,
        "mesh": case.mesh,
        "plan": case.made_by,
        "passed": outcome.passed,
        "collectives": sum(outcome.priced.values()),
        "bytes": sum(call.nbytes * count for call, count in outcome.priced.items()),
        "output_error": max(rank.output_error for rank in outcome.ranks),
        "gradient_error": max(rank.gradient_error for rank in outcome.ranks),
        "gradients": outcome.ranks[0].gradients,
        "differences": outcome.differences(),
    }


def show_runs(console: Console, rows: Sequence[dict[str, Any]]) -> None:
    """The table, and some of the calls that are not as priced."""
    headings = [
        "model",
        "mesh",
        "plan",
        "collectives",
        "bytes",
        "outputs off",
        "gradients off",
        "calls as priced",
    ]
    table = new_table(
        "Shardings run on DTensors (gloo), against one process in 64 bits and against priced calls",
        headings,
        left=["model", "mesh", "plan"],
    )
    for row in rows:
        table.add_row(
            row["model"], row["mesh"], row["plan"], f"{row['collectives']:,}", f"{row['bytes']:,}",
            f"{row['output_error']:.0e}", f"{row['gradient_error']:.0e}", "no" if row["differences"] else "yes",
        )  # fmt: skip
    console.print(table)
    for row in rows:
        for text in row["differences"][:MOST_DIFFERENCES]:
            console.print(f"{row['model']} {row['mesh']} {row['plan']}: {text}")
