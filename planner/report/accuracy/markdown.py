"""Markdown tables of figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from planner.errors import PlannerError


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells hold no pipes."""
    lines = [_line(headings), _line(["---"] * len(headings)), *(_line(row) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def renewed(text: str, marks: tuple[str, str], inner: str, file: str) -> str:
    """A page with what stands between two lines of it replaced.

    Raises:
        PlannerError: it has no such lines.
    """
    begin, end = marks
    before, first, rest = text.partition(begin)
    _, last, after = rest.partition(end)
    if not first or not last:
        raise PlannerError(f"has no lines '{begin}' and '{end}' for its table", file=file)
    return f"{before}{begin}\n{inner}{end}{after}"


def percent(value: float | None, *, sign: bool = False, digits: int = 1) -> str:
    """A fraction as a percentage, a dash when there is none."""
    return "-" if value is None else f"{100 * value:{'+' if sign else ''}.{digits}f} %"


def pair(first: float | None, second: float | None) -> str:
    """Two fractions as percentages, a dash when there are none."""
    return "-" if first is None or second is None else f"{100 * first:.1f} / {100 * second:.1f} %"


def number(value: float | None) -> str:
    """Two decimals, a dash when there is none."""
    return "-" if value is None else f"{value:.2f}"
