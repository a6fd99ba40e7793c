"""Measured rates between the nodes of a cluster: the CSV file that a cluster names under ``links``.

One line per node, one number per node: GB/s that the whole node of the line sends to the node of the column, all its cards
together, one direction, large messages, nothing else running. The diagonal is not read. A first line of names and a first
column of names may be there; lines that start with # are remarks. Docs: docs/placement.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.documents.reading import read_text
from planner.errors import PlannerError

MAX_NODES = 2048
MOST = 1e6
"""GB/s of a whole node; more is a mistake in units."""
GIGA = 1e9


@dataclass(frozen=True, eq=False)
class Links:
    """Rates between nodes.

    Args:
        names: of the nodes, in the order of the file.
        bandwidth: (nodes, nodes), bytes/s from the row's node to the column's; infinite on the diagonal.
        path: the file, None when made in the program.
    """

    names: tuple[str, ...]
    bandwidth: NDArray[np.float64]
    path: str | None = None

    def __len__(self) -> int:
        return len(self.names)

    def between(self) -> NDArray[np.float64]:
        """Rates of all ordered pairs of different nodes."""
        apart: NDArray[np.float64] = self.bandwidth[~np.eye(len(self), dtype=np.bool_)]
        return apart


Cell = tuple[int, list[str]]
"""Number of the line, and its fields."""


def load_links(path: str | Path, *, nodes: int | None = None) -> Links:
    """The matrix of a file.

    Args:
        nodes: how many the cluster has at least; None accepts any number from two on.

    Raises:
        PlannerError: the file is missing or holds no square matrix of rates above 0; names line and column.
    """
    file = Path(path)
    lines = _lines(read_text(file, "a CSV matrix of GB/s"))
    if not lines:
        raise PlannerError("is empty; one line of GB/s per node is accepted", file=file)
    heading = lines.pop(0)[1] if not _is_number(lines[0][1][-1]) and len(lines) > 1 else None
    named = not all(_is_number(fields[0]) or not fields[0] for _, fields in lines)
    count = len(lines)
    _check_size(file, count, nodes)
    names = _names(file, lines, heading, named, count)
    rates = np.array(
        [_rates(file, line, fields, named, count, row) for row, (line, fields) in enumerate(lines)]
    )
    np.fill_diagonal(rates, np.inf)
    return Links(names, rates * GIGA, str(file))


def numbered(count: int) -> tuple[str, ...]:
    """Names of nodes whose matrix names none."""
    return tuple(f"node-{number}" for number in range(count))


def _lines(text: str) -> list[Cell]:
    """The lines that hold something, with their numbers."""
    split = [(number, line.split(",")) for number, line in enumerate(text.splitlines(), start=1)]
    return [
        (number, [field.strip() for field in fields])
        for number, fields in split
        if "".join(fields).strip() and not fields[0].lstrip().startswith("#")
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_size(file: Path, count: int, nodes: int | None) -> None:
    if count < 2 or count > MAX_NODES:
        raise PlannerError(f"has {count} lines of rates; 2 to {MAX_NODES:,} nodes are accepted", file=file)
    if nodes is not None and count < nodes:
        raise PlannerError(f"has {count} lines of rates, but {nodes} nodes are needed", file=file)


def _rates(file: Path, line: int, fields: list[str], named: bool, count: int, row: int) -> list[float]:
    """GB/s of one line."""
    first = int(named)
    cells = fields[first:]
    if len(cells) != count:
        raise PlannerError(
            f"has {len(cells)} rates; one for each of the {count} nodes is accepted", file=file, line=line
        )
    rates = []
    for column, text in enumerate(cells):
        rate = float(text) if _is_number(text) else math.nan
        if column != row and not 0.0 < rate <= MOST:
            raise PlannerError(
                f"found '{text[:40]}'; GB/s above 0 up to {MOST:,.0f} are accepted",
                file=file,
                line=line,
                field=f"column {column + first + 1}",
            )
        rates.append(1.0 if column == row else rate)
    return rates


def _names(
    file: Path, lines: list[Cell], heading: list[str] | None, named: bool, count: int
) -> tuple[str, ...]:
    """Names of the lines, else of the columns, else numbers."""
    columns = None if heading is None else heading[len(heading) - count :]
    if heading is not None and len(heading) - int(named) != count:
        raise PlannerError(
            f"the line of names has {len(heading) - int(named)} of them for {count} nodes", file=file
        )
    names = [fields[0] for _, fields in lines] if named else columns
    if named and columns is not None and names != columns:
        raise PlannerError("names of lines and columns differ; both stand in the same order", file=file)
    if names is None:
        return numbered(count)
    if len(set(names)) < count:
        twice = next(name for name in names if names.count(name) > 1)
        raise PlannerError(f"'{twice}' names two nodes", file=file)
    return tuple(names)
