"""Tables of ``plan validate runs`` on models with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.report.tables import new_table

if TYPE_CHECKING:
    from rich.console import Console

    from planner.validation.runs.experts import ExpertScore


def show_experts(console: Console, score: ExpertScore) -> None:
    """Print groups by model and device, the five figures of complete rows, and the pairs that change one thing."""
    headings = ("family", "accelerator", "model", "rows", "mean", "offset", "within", "pairs ordered")
    table = new_table(
        "Models with experts by device, % error; 'within' after the group's own offset",
        headings,
        left=headings[:3],
    )
    for group in score.groups:
        table.add_row(
            group.family,
            group.accelerator,
            group.model if group.complete else f"{group.model} (open settings)",
            str(group.n),
            _percent(group.mean_ape),
            _percent(group.offset, sign=True),
            _percent(group.within),
            f"{group.ordered} of {group.pairs}" if group.pairs else "-",
        )
    console.print(table)
    console.print(
        f"Complete rows: mean over groups {_percent(score.mean_ape)} %, worst group {_percent(score.worst)} %,"
        f" within groups {_percent(score.within)} %, {_percent(score.ordered)} % of {score.pairs} pairs in order."
    )
    _show_pairs(console, score)


def _show_pairs(console: Console, score: ExpertScore) -> None:
    if not score.hard_pairs:
        return
    table = new_table(
        "Pairs of runs that change one thing: time after over time before",
        ("changes", "tests", "measured", "predicted", "error %"),
        left=("changes", "tests"),
    )
    for item in score.hard_pairs:
        measured, predicted = f"{item.measured:.2f}", f"{item.predicted:.2f}"
        table.add_row(
            item.pair.changes, item.pair.tests, measured, predicted, _percent(item.error, sign=True)
        )
    console.print(table)
    console.print(
        f"{score.right} of {len(score.hard_pairs)} in the right direction, {score.near} with the ratio within 15 %.\n"
    )


def _percent(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.1f}"
