"""The answer of ``plan max``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.jobs.types import Job
from planner.report.plan import headline
from planner.report.ranking import job_line
from planner.report.tables import new_table
from planner.report.text import layout_words, seconds

if TYPE_CHECKING:
    from rich.console import Console

    from planner.solvers.largest import LargestResult


def print_largest(console: Console, job: Job, result: LargestResult, *, brief: bool) -> None:
    """The largest value, what limits it, and what one changed knob would buy."""
    if not brief:
        console.print(job_line(job))
        console.print()
    line = f"largest {result.of}: {result.largest:,} (in steps of {result.granule}), limited by {result.limited_by}"
    console.print(line, style="bold")
    if brief:
        return
    console.print(headline(result.prediction))
    if not result.relaxed:
        return
    headings = ("one knob changed", f"largest {result.of}", "gain", "step there", "tokens/s")
    table = new_table("Which knob buys more", (*headings, "layout"), left=("one knob changed", "layout"))
    for item in result.relaxed:
        table.add_row(
            f"{item.knob}={item.value}",
            f"{item.largest:,}",
            f"{100 * (item.largest / result.largest - 1):+,.0f} %",
            seconds(item.step_time_s),
            f"{item.tokens_per_s:,.0f}",
            layout_words(item.layout),
        )
    console.print()
    console.print(table)
