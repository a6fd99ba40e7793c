"""CSV tables of measurements: known headers, checked cells, every fault with its line and column."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.documents.reading import read_text
from planner.errors import PlannerError, suggest

LARGEST_BYTES = 64 * 2**20
MOST_ROWS = 10**6
LARGEST_COUNT = 10**15
LONGEST_S = 1e6
"""No kernel runs for days: a larger time is a wrong unit."""

Cell = Callable[[str], Any]
Formats = Mapping[str, Mapping[str, Cell]]
"""By name of the format: its columns and how their cells are read."""

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,59}")


@dataclass(frozen=True)
class CsvRows:
    """One table.

    Args:
        file: where it stands.
        kind: name of its format.
        lines: 1-based line of each row.
        columns: values by heading.
    """

    file: Path
    kind: str
    lines: Sequence[int]
    columns: Mapping[str, Sequence[Any]]

    def take(self, chosen: Iterable[int]) -> CsvRows:
        """A choice of its rows."""
        rows = list(chosen)
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return CsvRows(self.file, self.kind, [self.lines[row] for row in rows], columns)

    def fault(self, row: int, field: str, message: str) -> PlannerError:
        """The error of one cell."""
        return PlannerError(message, file=self.file, line=self.lines[row], field=field)


def count(text: str) -> int:
    """A positive whole number; ``4096.0`` is one too."""
    value = _number(text)
    if value != int(value) or not 1 <= value <= LARGEST_COUNT:
        raise ValueError(f"found '{_shown(text)}'; a whole number of at least 1 is accepted")
    return int(value)


def microseconds(text: str) -> float:
    """A positive time in microseconds."""
    value = _number(text)
    if not 0 < value <= LONGEST_S * 1e6:
        raise ValueError(
            f"found '{_shown(text)}'; a time above 0 us and below {LONGEST_S:,.0f} s is accepted"
        )
    return value


def word(text: str) -> str:
    """A name."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"found '{_shown(text)}'; a name of letters, digits, '_', '-' or '.' is accepted")
    return text


def read_rows(file: Path, formats: Formats) -> CsvRows:
    """A table of one of the formats, told apart by their headings.

    The order of columns and the case of headings do not matter, and further columns are ignored.

    Raises:
        PlannerError: unreadable or too large a file, a wrong header, a wrong number of cells, a wrong cell, no row.
    """
    text = read_text(file, "CSV text", limit_bytes=LARGEST_BYTES)
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    try:
        header = _headings(next((row for row in reader if row), []))
        kind = _format_of(header, formats, file)
        return _read(reader, file, kind, header, formats[kind])
    except csv.Error as error:
        raise PlannerError(f"not valid CSV: {error}", file=file, line=max(reader.line_num, 1)) from None


def header_of(file: Path) -> tuple[str, ...]:
    """The headings of a CSV file, empty where there are none."""
    first = read_text(file, "CSV text", limit_bytes=LARGEST_BYTES).split("\n", 1)[0]
    return _headings(first.split(","))


def _headings(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(cell.strip().lower() for cell in cells)


def _read(reader: Any, file: Path, kind: str, header: Sequence[str], cells: Mapping[str, Cell]) -> CsvRows:
    lines: list[int] = []
    columns: dict[str, list[Any]] = {heading: [] for heading in header if heading in cells}
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise PlannerError(
                f"found {len(row)} cells; {len(header)} are accepted: {','.join(header)}",
                file=file,
                line=reader.line_num,
            )
        if len(lines) == MOST_ROWS:
            raise PlannerError(f"holds more than {MOST_ROWS:,} rows", file=file, line=reader.line_num)
        for heading, text in zip(header, row, strict=True):
            if heading not in cells:
                continue
            try:
                columns[heading].append(cells[heading](text.strip()))
            except ValueError as error:
                raise PlannerError(str(error), file=file, line=reader.line_num, field=heading) from None
        lines.append(reader.line_num)
    if not lines:
        raise PlannerError("holds a header but no row", file=file)
    return CsvRows(file, kind, lines, columns)


def _format_of(header: Sequence[str], formats: Formats, file: Path) -> str:
    for heading in header:
        if header.count(heading) > 1 and any(heading in cells for cells in formats.values()):
            raise PlannerError(
                f"the column '{_shown(heading)}' occurs twice", file=file, line=1, field="header"
            )
    whole = [kind for kind, cells in formats.items() if set(cells) <= set(header)]
    if whole:
        return max(whole, key=lambda kind: len(formats[kind]))
    nearest = max(formats, key=lambda kind: len(set(header) & set(formats[kind])))
    wanted = formats[nearest]
    shared = set(header) & set(wanted)
    odd = [heading for heading in header if heading not in wanted]
    if len(shared) * 2 >= len(wanted) and odd:
        raise PlannerError(
            f"unknown column '{_shown(odd[0])}': {suggest(odd[0][:60], set(wanted) - shared or wanted)}",
            file=file,
            line=1,
            field="header",
        )
    accepted = " or ".join(",".join(cells) for cells in formats.values())
    found = _shown(",".join(header))
    raise PlannerError(f"found the header '{found}'; accepted: {accepted}", file=file, line=1, field="header")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"found '{_shown(text)}'; a number is accepted") from None
    if not math.isfinite(value):
        raise ValueError(f"found '{_shown(text)}'; a finite number is accepted")
    return value


def _shown(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:57] + "..."
