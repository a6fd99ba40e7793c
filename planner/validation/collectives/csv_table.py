"""The table of collectives measured on named node types."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from planner.costs.collectives import collective_named
from planner.errors import PlannerError
from planner.validation.csv_rows import Cell, count, microseconds, word


def collective(text: str) -> str:
    """The name of a collective that the cost model prices."""
    try:
        return collective_named(text)
    except PlannerError as error:
        raise ValueError(error.message) from None


NVLINK: Mapping[str, Cell] = MappingProxyType(
    {
        "node": word,
        "collective": collective,
        "ranks": count,
        "ranks_per_node": count,
        "bytes": count,
        "time_us": microseconds,
    }
)
"""Headings and their cells."""
