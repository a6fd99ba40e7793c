"""One line of a benchmark's table: size, count, type, and times with the rates that follow from them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Placement = Literal["out of place", "in place"]

TYPE_BYTES = {
    "int8": 1,
    "uint8": 1,
    "char": 1,
    "fp8_e4m3": 1,
    "fp8_e5m2": 1,
    "f8e4m3": 1,
    "f8e5m2": 1,
    "half": 2,
    "bfloat16": 2,
    "bf16": 2,
    "fp16": 2,
    "float16": 2,
    "int32": 4,
    "uint32": 4,
    "int": 4,
    "float": 4,
    "fp32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "double": 8,
}
"""Element types as nccl-tests, rccl-tests and nccom-test print them."""

_START = re.compile(
    r"(?:^|[\s:|>\]])(?P<size>\d+)[\s|]+(?P<count>\d+)[\s|]+(?P<type>"
    + "|".join(sorted(TYPE_BYTES, key=len, reverse=True))
    + r")(?=[\s|]|$)(?P<rest>.*)$"
)
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|N/A")
_LABEL = re.compile(r"\[\d+\](?=\s|$)")  # of a launcher that marks what each rank prints
_WORD = re.compile(r"[a-zA-Z_]+")


@dataclass(frozen=True)
class Timed:
    """A time and the rates printed beside it.

    Args:
        time_digit_us, rate_digit: what the last printed digits of the time and of the rates are worth.
        algbw, busbw: GB/s.
        wrong: elements that were wrong (of old versions: the largest error), None where nothing was checked.
    """

    placement: Placement
    time_us: float
    time_digit_us: float
    algbw: float
    busbw: float
    rate_digit: float
    wrong: float | None


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        line: where it stands.
        operation: of a reduction, ``none`` where nothing is added, None where the table has no such column.
        root: of a broadcast, -1 where there is none, None where the table has no such column.
        timed: out of place and in place, as far as they were measured.
    """

    line: int
    size: int
    count: int
    type: str
    operation: str | None
    root: int | None
    timed: tuple[Timed, ...]


class BrokenRowError(Exception):
    """A line begins like a row of a table and goes on in another way; the message says how."""


def row_in(number: int, text: str) -> Row | None:
    """The row that a line holds, whatever stands before it; None where it holds none.

    Raises:
        BrokenRowError: it begins like a row and has another number of columns, or a word among them.
    """
    start = _START.search(_LABEL.sub(" ", text))
    if start is None:
        return None
    cells = [cell.rstrip("*") for cell in start["rest"].replace("|", " ").split()]
    operation = cells.pop(0).lower() if cells and _WORD.fullmatch(cells[0]) else None
    root = int(cells.pop(0)) if _has_root(cells) else None
    return Row(number, int(start["size"]), int(start["count"]), start["type"], operation, root, _timed(cells))


def _has_root(cells: list[str]) -> bool:
    """Whether a root stands before the groups of three or four cells; of four it does where it is negative."""
    if not cells or not re.fullmatch(r"-?\d+", cells[0]):
        return False
    return len(cells) in (5, 7, 9) or cells[0].startswith("-")


def _timed(cells: list[str]) -> tuple[Timed, ...]:
    """The groups of time, algbw, busbw and, mostly, wrong: out of place, and mostly in place."""
    width = {3: 3, 4: 4, 6: 3, 8: 4}.get(len(cells))
    if width is None:
        raise BrokenRowError(
            f"found {len(cells)} cells after type, operation and root; accepted: time, algbw, busbw and wrong, once or twice"
        )
    odd = [cell for cell in cells if not _NUMBER.fullmatch(cell)]
    if odd:
        raise BrokenRowError(f"found '{odd[0][:40]}' where a number is expected")
    names: tuple[Placement, ...] = ("out of place", "in place")
    groups = zip(names, (cells[start : start + width] for start in range(0, len(cells), width)), strict=False)
    return tuple(_one(name, group) for name, group in groups if "N/A" not in group[:3])


def _one(placement: Placement, cells: list[str]) -> Timed:
    time, algbw, busbw = (float(cell) for cell in cells[:3])
    wrong = None if len(cells) == 3 or cells[3] == "N/A" else float(cells[3])
    rate_digit = max(_digit(cells[1]), _digit(cells[2]))
    return Timed(placement, time, _digit(cells[0]), algbw, busbw, rate_digit, wrong)


def _digit(text: str) -> float:
    mantissa, _, exponent = text.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))
