"""Why a row cannot be predicted or scored, named once so that reasons can be counted."""

from __future__ import annotations


class Refused(Exception):
    """A row that cannot be expressed.

    Args:
        reason: what is missing in the row, or which feature the planner lacks; equal reasons read the same.
        detail: figures of this row, not counted.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def missing(field: str) -> Refused:
    """The row does not state a field that cannot be bounded by a few choices."""
    return Refused(f"{field} is not given")


def lacking(feature: str, detail: str = "") -> Refused:
    """The planner cannot express something that the row states."""
    return Refused(f"feature: {feature}", detail)
