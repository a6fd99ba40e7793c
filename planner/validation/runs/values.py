"""Values of published rows as sources print them.

Sources print what they like, so a field that should hold a number may hold words. Words are kept as *unknown* (None);
numbers that cannot be (negative, not a number) are errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator

_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

_LARGEST_SHARE = 2.0
"""Utilisations are shares; sources that count FLOPs against the peak of a wider type exceed 1, none exceeds twice that."""


def _number(value: object) -> float | None:
    """A positive number, quoted or not; words, lists and null are unknown."""
    if isinstance(value, str) and _NUMERAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"found {value}; a finite number of at least 0 is accepted")
    return float(value)


def _count(value: object) -> int | None:
    number = _number(value)
    if number is None:
        return None
    if number != int(number):
        raise ValueError(f"found {value}; a whole number is accepted")
    return int(number)


def _share(value: object) -> float | None:
    number = _number(value)
    if number is not None and number > _LARGEST_SHARE:
        raise ValueError(f"found {value}; a share such as 0.4 is accepted")
    return number


def _numbers(value: object) -> tuple[float, ...]:
    """A list of numbers; one number is a list of one, and a list that holds anything else is unknown."""
    items = [_number(item) for item in (value if isinstance(value, list | tuple) else [value])]
    return () if None in items else tuple(item for item in items if item is not None)


def _table(value: object) -> tuple[tuple[float, ...], ...]:
    """A list of lists of numbers."""
    return tuple(_numbers(item) for item in value) if isinstance(value, list | tuple) else ()


def _by_name(value: object) -> dict[str, float]:
    """Numbers by name; what is none is left out."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    numbers = {str(name): _number(item) for name, item in pairs}
    return {name: number for name, number in numbers.items() if number is not None}


def _degree(value: object) -> int | None:
    number = _count(value)
    if number == 0:
        raise ValueError("found 0; at least 1 is accepted")
    return number


def _switch(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _gate(value: object) -> bool | None:
    """Whether an MLP is gated; sources that name the activation say so by its name (SwiGLU, GeGLU)."""
    return True if isinstance(value, str) and "glu" in value.lower() else _switch(value)


def _certain(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "yes")


def _profile(value: object) -> str:
    return "unknown" if value is None else str(value)


def as_section(value: object) -> object:
    """What a source leaves out or describes in words has no fields."""
    return {} if value is None or isinstance(value, str) else value


def _label(value: object) -> object:
    """Numbers name rows and families as well as words do."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _words(value: object) -> str | None:
    return None if value is None else str(value)


def _list(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    return () if value is None else (str(value),)


def as_mapping(value: object) -> object:
    """Anything else than a mapping is unknown."""
    return value if isinstance(value, Mapping) else None


Number = Annotated[float | None, BeforeValidator(_number)]
Share = Annotated[float | None, BeforeValidator(_share)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_numbers)]
NumberTable = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_table)]
NumbersByName = Annotated[Mapping[str, float], BeforeValidator(_by_name)]
Count = Annotated[int | None, BeforeValidator(_count)]
Degree = Annotated[int | None, BeforeValidator(_degree)]
Switch = Annotated[bool | None, BeforeValidator(_switch)]
Gate = Annotated[bool | None, BeforeValidator(_gate)]
Words = Annotated[str | None, BeforeValidator(_words)]
WordList = Annotated[tuple[str, ...], BeforeValidator(_list)]
Flag = Annotated[bool, BeforeValidator(_certain)]
Label = Annotated[str, BeforeValidator(_label)]
Profile = Annotated[str, BeforeValidator(_profile)]
