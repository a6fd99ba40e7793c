"""Field types for pydantic models at the border: quantities with units and counts with suffixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BeforeValidator

from planner.errors import PlannerError
from planner.units import parse_count, parse_quantity


def quantity(dimension: str, *, allow_zero: bool = True, allow_negative: bool = False) -> BeforeValidator:
    """Annotation for a float field: ``Annotated[float, quantity("bytes/s")]``; see ``parse_quantity``."""
    return _before(
        lambda value: parse_quantity(value, dimension, allow_zero=allow_zero, allow_negative=allow_negative)
    )


def count(*, binary: bool = False) -> BeforeValidator:
    """Annotation for an int field: ``Annotated[int, count(binary=True)]``; see ``parse_count``."""
    return _before(lambda value: parse_count(value, binary))


def _before(parse: Callable[[Any], float | int]) -> BeforeValidator:
    def convert(value: Any) -> float | int | None:
        # None is left to the annotation: an optional field takes it, a required one names the fault.
        if value is None:
            return None
        try:
            return parse(value)
        except PlannerError as error:
            # A ValueError, so that pydantic adds the path of the field.
            raise ValueError(error.message) from None

    return BeforeValidator(convert)
