"""Real runs on this machine against one process: the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.real_runs.compare import Outcome

MOST_DIFFERENCES = 12


def show_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """One row per case, then what differs."""
    if not outcomes:
        return
    headings = ["case", "ranks", "loss", "gradients", "loss, 32 bits", "calls"]
    table = new_table("Real runs against one process and the prediction", headings, left=["case"])
    for outcome in outcomes:
        table.add_row(outcome.name, str(outcome.processes), *_equality(outcome))
    console.print(table)
    for outcome in outcomes:
        _show_differences(console, outcome)


def _equality(outcome: Outcome) -> list[str]:
    if outcome.failed_because is not None:
        return ["failed", "", "", ""]
    exact = sum(term.passed for _, term in outcome.communication)
    errors = (outcome.loss_error, outcome.gradient_error, outcome.single_loss_error)
    return [*(f"{error:.0e}" for error in errors), f"{exact}/{len(outcome.communication)}"]


def _show_differences(console: Console, outcome: Outcome) -> None:
    if outcome.failed_because is not None:
        console.print(f"{outcome.name}: {outcome.failed_because}")
    differing = [(rank, term) for rank, term in outcome.communication if not term.passed]
    for rank, term in differing[:MOST_DIFFERENCES]:
        console.print(
            f"{outcome.name}: rank {rank}: {term.name}: {term.predicted:g} predicted, {term.traced:g} made"
        )
    if len(differing) > MOST_DIFFERENCES:
        console.print(f"{outcome.name}: and {len(differing) - MOST_DIFFERENCES} more")
