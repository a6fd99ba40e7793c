"""Sequence lengths of a variable-length data set: exact where all are equal, refused with the reason where not."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from planner.errors import PlannerError, suggest
from planner.units import parse_count

DISTRIBUTIONS = ("constant", "lognormal", "uniform")

NEEDS_PACKING = (
    "batches of unequal sequences need a packing or balancing plan, which this release cannot price: attention grows with"
    " the square of the length, so the mean length would be wrong; give seq_len (the packed length) instead"
)


def equal_length(lengths: str | Mapping[str, Any], *, base: Path | None = None) -> int:
    """The length that all sequences have.

    Args:
        lengths: path of a CSV file with one length per row (a heading ``length`` is allowed), or
            ``{distribution: constant, length: 8K}``.
        base: folder that a relative path starts from.

    Raises:
        PlannerError: lengths differ, or none can be read.
    """
    values = (
        read_lengths((base or Path()) / lengths) if isinstance(lengths, str) else _from_distribution(lengths)
    )
    if not values:
        raise PlannerError("found no lengths; accepted: a CSV file with one length per row")
    if min(values) < 1:
        raise PlannerError(f"found a length of {min(values)}; accepted: 1 or more")
    if min(values) != max(values):
        raise PlannerError(f"found lengths from {min(values)} to {max(values)}; {NEEDS_PACKING}")
    return values[0]


def read_lengths(path: Path) -> list[int]:
    """The lengths of a CSV file, one per row; a heading ``length`` is allowed.

    Raises:
        PlannerError: it cannot be read, or a row is no count.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlannerError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PlannerError(
            f"{path} is not UTF-8 text; accepted: a CSV file with one length per row"
        ) from None
    rows = [row[0].strip() for row in csv.reader(StringIO(text)) if row and row[0].strip()]
    if rows and rows[0].lower() in ("length", "lengths", "tokens"):
        rows = rows[1:]
    return [parse_count(row, True) for row in rows]


def _from_distribution(section: Mapping[str, Any]) -> list[int]:
    kind = section.get("distribution")
    if kind not in DISTRIBUTIONS:
        raise PlannerError(f"found distribution {kind!r}; {suggest(str(kind), DISTRIBUTIONS)}")
    if kind != "constant":
        raise PlannerError(f"found the distribution '{kind}'; {NEEDS_PACKING}")
    unknown = set(section) - {"distribution", "length"}
    if unknown or "length" not in section:
        raise PlannerError("accepted for a constant distribution: {distribution: constant, length: 8K}")
    return [parse_count(section["length"], True)]
