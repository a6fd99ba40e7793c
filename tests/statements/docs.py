"""The table of docs/statements.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.statements.statement import Statement

HEADING = "| statement | published | ours | accepted | verdict |\n|---|---|---|---|---|"
SHOWN = 4
"""Cells printed for one statement; of longer ones the range of ours over published."""


def number(value: float) -> str:
    return f"{value:.4g}"


def accepted(statement: Statement) -> str:
    """The tolerance in words."""
    ((kind, value),) = statement.accept.items()
    if kind == "relative":
        return f"± {100 * value:g} %"
    if kind == "absolute":
        return f"± {value:g}" if value else "equal"
    if kind == "between":
        return f"{value[0]:g} to {value[1]:g}"
    return f"{'≥' if kind == 'at_least' else '≤'} {value:g}"


def cells(figures: Mapping[str, float | None]) -> str:
    return "; ".join(f"{cell}: {'-' if value is None else number(value)}" for cell, value in figures.items())


def figures(statement: Statement) -> tuple[str, str]:
    """Published and our figures: all of them, or, of many, how far ours are from the published ones."""
    if len(statement.published) <= SHOWN:
        return cells(statement.published), cells(statement.ours)
    given = {cell: value for cell, value in statement.published.items() if value}
    if not given:
        values = statement.ours.values()
        return f"{len(statement.published)} cells", f"{number(min(values))} to {number(max(values))}"
    ratios = [statement.ours[cell] / value for cell, value in given.items()]
    ends = f"{number(min(given.values()))} to {number(max(given.values()))}"
    return f"{len(given)} cells, {ends}", f"{min(ratios):.2f} to {max(ratios):.2f} of it"


def line(statement: Statement) -> str:
    published, ours = figures(statement)
    verdict = f"**missed** ({_count(statement)}): {statement.reason}" if statement.missed else "held"
    return (
        f"| {statement.says} ({statement.where}) | {published} | {ours} | {accepted(statement)} | {verdict} |"
    )


def _count(statement: Statement) -> str:
    worst = max(statement.beyond(cell) for cell in statement.missed)
    share = f"{100 * worst:.0f}" if worst >= 0.01 else f"{100 * worst:.1f}"
    return f"{len(statement.missed)} of {len(statement.ours)} cells, by {share} % at worst"


def table(found: Iterable[Statement]) -> str:
    """One table for each source, and how many statements are held."""
    everything = list(found)
    held = sum(not statement.missed for statement in everything)
    parts = [f"{held} of {len(everything)} statements are held, {len(everything) - held} are missed."]
    for source in dict.fromkeys(statement.source for statement in everything):
        lines = [line(statement) for statement in everything if statement.source == source]
        parts.append("\n".join([f"## {source}\n", HEADING, *lines]))
    return "\n\n".join(parts)
