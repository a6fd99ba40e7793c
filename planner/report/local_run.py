"""A real run of a plan on this machine, as tables."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.real_runs.local import LocalRun


def show_run(console: Console, run: LocalRun) -> None:
    """Losses by step, time with its spread, and the calls of each axis beside the predicted ones."""
    if run.cuts:
        console.print(f"a scaled-down copy: {'; '.join(map(str, run.cuts))}")
    losses = ", ".join(f"{loss:.6f}" for loss in run.result.losses)
    console.print(f"{run.name} on {len(run.result.ranks)} processes: loss {losses}")
    seconds = run.result.seconds
    if seconds:
        middle = median(seconds)
        console.print(
            f"step: {1e3 * middle:.1f} ms, spread {100 * (max(seconds) - min(seconds)) / middle:.0f} % of "
            f"{len(seconds)} steps; predicted {1e3 * run.prediction.step_time_s:.1f} ms"
        )
    if run.result.peak_bytes is not None:
        predicted = run.prediction.memory.peak_bytes
        console.print(f"memory: {run.result.peak_bytes / 1e9:.3f} GB, predicted {predicted / 1e9:.3f} GB")
    if run.communication:
        headings = ["rank", "calls of", "made", "predicted"]
        table = new_table("Calls per step", headings, left=["calls of"])
        for rank, term in run.communication:
            mark = "" if term.passed else "  differs"
            table.add_row(str(rank), term.name + mark, f"{term.traced:g}", f"{term.predicted:g}")
        console.print(table)
