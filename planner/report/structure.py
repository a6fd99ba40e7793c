"""Traces against predictions: one row per case, then what differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.structure.study import Outcome

MOST_DIFFERENCES = 8
GIB = 2**30


def show_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """The table, and up to ``MOST_DIFFERENCES`` terms of each case that differ."""
    headings = [
        "case",
        "ranks",
        "FLOPs",
        "calls",
        "persistent",
        "peak traced",
        "predicted",
        "error",
        "traced in",
    ]
    table = new_table("Traces of PyTorch on fake tensors against predictions", headings, left=["case"])
    for outcome in outcomes:
        table.add_row(outcome.name, str(outcome.devices), *_figures(outcome))
    console.print(table)
    for outcome in outcomes:
        _show_differences(console, outcome)


def _figures(outcome: Outcome) -> list[str]:
    if outcome.trace is None:
        return ["failed", *[""] * 6]
    peak = outcome.of("peak")[0]
    exact = [_share(outcome, area) for area in ("flops", "communication", "persistent")]
    sizes = [f"{value / GIB:.3f} GiB" for value in (peak.traced, peak.predicted)]
    return [*exact, *sizes, f"{100 * peak.error:+.2f} %", f"{outcome.trace.seconds:.0f} s"]


def _share(outcome: Outcome, area: str) -> str:
    terms = outcome.of(area)
    return f"{sum(term.passed for term in terms)}/{len(terms)}"


def _show_differences(console: Console, outcome: Outcome) -> None:
    if outcome.failed_because is not None:
        console.print(f"{outcome.name}: {outcome.failed_because}")
    differing = [term for term in outcome.terms if not term.passed]
    for term in differing[:MOST_DIFFERENCES]:
        figures = f"{term.predicted:,.0f} predicted, {term.traced:,.0f} traced"
        console.print(f"{outcome.name}: {term.area}: {term.name}: {figures}")
    if len(differing) > MOST_DIFFERENCES:
        console.print(f"{outcome.name}: and {len(differing) - MOST_DIFFERENCES} more")
