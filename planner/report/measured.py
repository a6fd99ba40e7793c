"""Table of how well fitted constants explain what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planner.calibration.measure.residuals import KindErrors, Residual, errors_by_kind
from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console


def show_residuals(console: Console, residuals: Sequence[Residual]) -> None:
    """Errors by kind: median, bias, the worst point, and how many points scatter."""
    headings = ("kind", "points", "median %", "bias %", "worst %", "worst point", "noisy")
    table = new_table("Predicted by the fit over measured", headings, left=("kind", "worst point"))
    for row in errors_by_kind(residuals):
        table.add_row(
            row.kind,
            str(row.points),
            f"{100 * row.median:.1f}",
            f"{100 * row.bias:+.1f}",
            f"{100 * row.worst.error:+.1f}",
            row.worst.subject,
            str(row.noisy),
        )
    console.print(table)


def residuals_json(residuals: Sequence[Residual]) -> dict[str, Any]:
    """The same as plain data, with every point."""
    return {
        "kinds": [_kind(row) for row in errors_by_kind(residuals)],
        "points": [
            {
                "kind": item.kind,
                "subject": item.subject,
                "measured_s": item.measured_s,
                "predicted_s": item.predicted_s,
                "error": item.error,
                "noisy": item.noisy,
            }
            for item in residuals
        ],
    }


def _kind(row: KindErrors) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "points": row.points,
        "median_ape": row.median,
        "bias": row.bias,
        "worst": row.worst.error,
        "noisy": row.noisy,
    }
