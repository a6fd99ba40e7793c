"""The values that a sweep gives to one field: lists, ranges, factors, and distributions to draw from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from planner.errors import PlannerError
from planner.layouts.knob_text import parse_knob_text, split_top
from planner.studies.sweep.fields import HARDWARE, Field, Value

FACTOR = ".factor"
"""Ending of the path of an axis that multiplies a figure instead of stating it."""

MOST_VALUES = 1_000_000

_RANGE = re.compile(
    r"(?P<draw>uniform:|log:)?\s*(?P<low>[-+]?\.?\d[^:]*?)\s*\.\.\s*(?P<high>[^:]+?)\s*(?::\s*(?P<step>.+))?"
)
_DIGITS = 12
"""Significant digits of values between the ends of a range: 0.15, not 0.15000000000000002."""

Number = int | float
Read = Callable[[object], Value]


@dataclass(frozen=True)
class Draw:
    """A distribution over an interval.

    Args:
        low, high: both may be drawn.
        logarithmic: every ratio is as likely as another, instead of every difference.
        whole: integers only.
        step: distance of drawn values from ``low`` is a multiple of it; None: any value.
    """

    low: Number
    high: Number
    logarithmic: bool
    whole: bool
    step: Number | None = None

    def sample(self, random: Random) -> Number:
        """One value; the same state of ``random`` gives the same one."""
        share = random.random()
        if self.logarithmic:
            value = self.low * math.exp(share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        if self.step is not None:
            value = self.low + self.step * round((value - self.low) / self.step)
            value = value if value <= self.high else value - self.step
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Axis:
    """One swept field.

    Args:
        path: of the field; ends in ``.factor`` where values multiply it.
        values: those of a grid.
        draw: the distribution of a random sample, in place of values.
    """

    path: str
    values: tuple[Value, ...] = ()
    draw: Draw | None = None

    def sample(self, random: Random) -> Value:
        """A value drawn from the distribution, or one of the grid's values."""
        if self.draw is not None:
            return self.draw.sample(random)
        return self.values[min(int(random.random() * len(self.values)), len(self.values) - 1)]


def parse_axis(field: Field, given: object) -> Axis:
    """The axis of one field.

    Args:
        given: ``64..4096`` (doubling), ``64..512:64`` (steps), ``64..4096:x4`` (ratio), ``1,2,4``, ``x0.5..x2`` and
            ``x1,x1.5`` (factors on a hardware figure), ``uniform:0..1``, ``log:64..4096``, or a list of such parts.

    Raises:
        PlannerError: a value that the field does not take, an empty range, factors on what is no hardware figure.
    """
    try:
        parts = _parts(given)
        factors = [isinstance(part, str) and _is_factor(part) for part in parts]
        if not any(factors):
            return _axis(field.path, parts, field.read)
        if not field.path.startswith(HARDWARE):
            raise PlannerError("factors such as x0.5 are for hardware figures; write the values themselves")
        if not all(factors):
            raise PlannerError("found factors (x0.5) beside values; accepted: one kind")
        return _axis(field.path + FACTOR, [str(part).replace("x", "") for part in parts], _factor)
    except PlannerError as error:
        raise PlannerError(error.message, file=error.file, field=f"--over {field.path}") from None


def _parts(given: object) -> list[object]:
    parts = given if isinstance(given, list) else [given]
    split = [item for part in parts for item in (split_top(part, part) if isinstance(part, str) else [part])]
    if not split:
        raise PlannerError("found no values; accepted: for example 64..4096 or 1,2,4")
    return [part.strip() if isinstance(part, str) else part for part in split]


def _is_factor(part: str) -> bool:
    return re.fullmatch(r"(uniform:|log:)?\s*x[\d.].*", part) is not None


def _axis(path: str, parts: list[object], read: Read) -> Axis:
    values: list[Value] = []
    for part in parts:
        match = _RANGE.fullmatch(part) if isinstance(part, str) else None
        if match is None:
            values.append(read(_plain(part)))
        elif match["draw"]:
            if len(parts) > 1:
                raise PlannerError("found a distribution beside other values; accepted: it alone")
            return Axis(path, draw=_draw(match, read))
        else:
            values.extend(_range(match, read))
    return Axis(path, tuple(dict.fromkeys(values)) if all(_hashable(v) for v in values) else tuple(values))


def _hashable(value: Value) -> bool:
    return not isinstance(value, list | dict)


def _plain(part: object) -> object:
    return parse_knob_text(f"value={part}")["value"] if isinstance(part, str) and part else part


def _factor(value: object) -> Value:
    number = _number(value, lambda item: item if isinstance(item, int | float) else None)
    if number <= 0 or not math.isfinite(number):
        raise PlannerError(f"found the factor {value!r}; accepted: above 0, for example x0.5")
    return float(number)


def _number(value: object, read: Callable[[Any], object]) -> Number:
    number = read(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise PlannerError(f"found {value!r} as the end of a range; a number is accepted")
    return number


def _ends(match: re.Match[str], read: Read) -> tuple[Number, Number]:
    low, high = (_number(_plain(match[end]), read) for end in ("low", "high"))
    if low > high:
        raise PlannerError(f"found the range {match[0]}, which is empty; accepted: the smaller end first")
    return low, high


def _draw(match: re.Match[str], read: Read) -> Draw:
    low, high = _ends(match, read)
    logarithmic = match["draw"] == "log:"
    if logarithmic and low <= 0:
        raise PlannerError(f"found {match[0]}; a logarithmic distribution begins above 0")
    whole = isinstance(low, int) and isinstance(high, int)
    return Draw(low, high, logarithmic, whole, None if match["step"] is None else _step(match, read))


def _step(match: re.Match[str], read: Read) -> Number:
    step = _number(_plain(match["step"]), read)
    if step <= 0:
        raise PlannerError(f"found the step {match['step']}; accepted: above 0")
    return step


def _range(match: re.Match[str], read: Read) -> Iterator[Value]:
    low, high = _ends(match, read)
    step = match["step"]
    if step is not None and not step.startswith("x"):
        grow, change = False, _step(match, read)
    else:
        grow, change = True, 2 if step is None else _ratio(step)
        if low <= 0:
            raise PlannerError(
                f"found the range {match[0]}; doubling begins above 0 (give a step: 0..1:0.25)"
            )
    whole = isinstance(low, int)
    for index in range(MOST_VALUES + 1):
        value = low * change**index if grow else low + index * change
        value = round(value) if whole else float(f"{value:.{_DIGITS}g}")
        if value > high:
            return
        if index < MOST_VALUES:
            yield value
    raise PlannerError(f"found the range {match[0]} with more than {MOST_VALUES:,} values")


def _ratio(step: str) -> Number:
    ratio = _number(_plain(step[1:]), lambda item: item if isinstance(item, int | float) else None)
    if ratio <= 1:
        raise PlannerError(f"found the ratio {step}; accepted: above 1, for example 64..4096:x4")
    return ratio
