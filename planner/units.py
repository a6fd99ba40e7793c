"""Quantities with units: strings such as ``400 Gb/s`` to SI floats and back.

Inside the code every quantity is a plain SI number (bytes, bytes/s, FLOP/s, seconds, watts). Units exist
only here, at the border. A strict pattern splits number and unit first, so that pint only ever sees one unit,
never arithmetic.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from planner.errors import PlannerError

if TYPE_CHECKING:
    import pint

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

_NUMBER = r"[+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<unit>%|[A-Za-zµμ]+(?:\s*/\s*[A-Za-z]+)?)?\s*")
_COUNT = re.compile(rf"\s*(?P<number>{_NUMBER})\s*(?P<suffix>[A-Za-z]*)\s*")
_PER_SECOND = re.compile(r"(?P<unit>[KMGTPE]?i?[bB]|[KMGTPE]?FLOP)(?:ps|PS|S)")

_DEFINITIONS = """
u- = 1e-6 = µ- = μ-
n- = 1e-9
m- = 1e-3
k- = 1e3 = K-
M- = 1e6
G- = 1e9
T- = 1e12
P- = 1e15
E- = 1e18
Ki- = 2**10
Mi- = 2**20
Gi- = 2**30
Ti- = 2**40
Pi- = 2**50
byte = [information] = B = bytes
bit = byte / 8 = b = bits
flop = [operation] = FLOP = FLOPs = flops
second = [time] = s = sec = seconds
minute = 60 * second = min = minutes
hour = 3600 * second = h = hr = hours
day = 86400 * second = d = days
joule = [energy] = J
watt = joule / second = W
watthour = watt * hour = Wh
usd = [currency] = USD
"""


@dataclass(frozen=True)
class Dimension:
    """What one kind of quantity accepts.

    Args:
        unit: the SI unit that numbers without a unit are in.
        example: an accepted spelling, for messages.
        largest: values above it are a slip of the pen, not hardware.
        smallest: the smallest non-zero value that makes sense.
    """

    unit: str
    example: str
    largest: float
    smallest: float = 0.0


DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(
    {
        "bytes": Dimension("byte", "80 GB", 1e21, 1.0),
        "bytes/s": Dimension("byte/second", "400 Gb/s", 1e18, 1e-3),
        "flop": Dimension("flop", "3e24 FLOP", 1e40),
        "flop/s": Dimension("flop/second", "989 TFLOP/s", 1e21, 1.0),
        "s": Dimension("second", "1.5 us", 1e12),
        "W": Dimension("watt", "700 W", 1e12),
        "J": Dimension("joule", "1.2 kWh", 1e21),
        "1": Dimension("", "0.8 or 80%", 1e15),
        "usd": Dimension("usd", "25000 USD", 1e15),
        "usd/h": Dimension("usd/hour", "2.5 USD/h", 1e9),
    }
)

_DECIMAL = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"": 1, "K": KIB, "M": MIB, "G": GIB, "B": GIB, "T": TIB, "P": 2**50}
_LARGEST_COUNT = 10**18


def parse_quantity(
    value: object,
    dimension: str,
    *,
    field: str | None = None,
    allow_zero: bool = True,
    allow_negative: bool = False,
) -> float:
    """The SI value of a number or of a string ``number unit``.

    Args:
        value: a number (already in the SI unit of the dimension) or a string such as ``400 Gb/s``.
        dimension: a key of ``DIMENSIONS``.
        field: dotted path of the field, for the message.
        allow_zero, allow_negative: what the quantity may be.

    Raises:
        PlannerError: not a finite quantity of that dimension; the message names an accepted example.
    """
    kind = DIMENSIONS[dimension]
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _refuse(f"found {_shown(value)}", kind, field)
    try:
        result = _from_text(value, dimension) if isinstance(value, str) else float(value)
    except OverflowError:
        raise _refuse(f"found {_shown(value)}, which is absurdly large", kind, field) from None
    except ValueError as error:
        raise _refuse(str(error), kind, field) from None
    if math.isnan(result) or math.isinf(result):
        raise _refuse(f"found {_shown(value)}, which is not a finite number", kind, field)
    if result < 0 and not allow_negative:
        raise _refuse(f"found {_shown(value)}, but it cannot be negative", kind, field)
    if result == 0 and not allow_zero:
        raise _refuse(f"found {_shown(value)}, but it must be greater than zero", kind, field)
    if abs(result) > kind.largest:
        raise _refuse(
            f"found {_shown(value)}, which is absurdly large (at most {kind.largest:g} in SI)", kind, field
        )
    if 0 < abs(result) < kind.smallest:
        raise _refuse(
            f"found {_shown(value)}, which is absurdly small (at least {kind.smallest:g} in SI)", kind, field
        )
    return result


def parse_count(value: object, binary: bool = False, *, field: str | None = None) -> int:
    """A whole number from ``4096``, ``"8M"`` or ``"128K"``.

    Args:
        value: an integer, a float without fraction, or a string with a suffix K, M, G (or B), T, P.
        binary: K = 1024 (sequence lengths, batch tokens) instead of 1000 (token budgets, parameter counts).
            ``Ki`` is always 1024.
        field: dotted path of the field, for the message.

    Raises:
        PlannerError: not a whole number >= 0, or above 1e18.
    """
    accepted = 'accepted: a whole number such as 4096, "128K" or "8M"'
    result = _count(value, binary)
    if result is None:
        raise PlannerError(f"found {_shown(value)}, which is not a whole number; {accepted}", field=field)
    if result < 0:
        raise PlannerError(f"found {_shown(value)}, but a count cannot be negative; {accepted}", field=field)
    if result > _LARGEST_COUNT:
        raise PlannerError(f"found {_shown(value)}, which is absurdly large; at most 1e18", field=field)
    return result


def format_bytes(value: float, *, binary: bool = False) -> str:
    """``80.0 GB``, or ``74.5 GiB`` when ``binary``."""
    return _scaled(value, "B", 1024.0 if binary else 1000.0, "i" if binary else "")


def format_rate(value: float, unit: str = "B/s") -> str:
    """A value per second with an SI prefix: ``450 GB/s``, ``989 TFLOP/s`` (``unit="FLOP/s"``)."""
    return _scaled(value, unit, 1000.0, "")


def format_seconds(value: float) -> str:
    """A time in the unit that reads best: ``1.50 us``, ``4.36 s``, ``12.5 d``."""
    size = abs(value)
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (600.0, 1.0, "s")):
        if size < limit:
            return f"{value * factor:.3g} {unit}" if size else "0 s"
    for limit, factor, unit in ((7200.0, 60.0, "min"), (172800.0, 3600.0, "h")):
        if size < limit:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 86400.0:.1f} d"


def format_count(value: float) -> str:
    """A count with a decimal suffix: ``8.03B``, ``512``, ``1.5M``."""
    if abs(value) < 10_000:
        return f"{value:g}"
    for factor, suffix in ((1e3, "K"), (1e6, "M"), (1e9, "B"), (1e12, "T"), (1e15, "P")):
        if abs(value) < factor * 999.5 or suffix == "P":
            return f"{value / factor:.3g}{suffix}"
    raise AssertionError("unreachable: the last suffix takes everything")


def _refuse(what: str, kind: Dimension, field: str | None) -> PlannerError:
    return PlannerError(f"{what}; accepted: a quantity such as {kind.example}", field=field)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _from_text(text: str, dimension: str) -> float:
    match = _QUANTITY.fullmatch(text) if len(text) <= 100 else None
    if match is None:
        raise ValueError(f"found {_shown(text)}, which is not 'number unit'")
    number, unit = float(match["number"]), match["unit"]
    if unit is None:
        return number
    if unit == "%":
        if dimension != "1":
            raise ValueError(f"found {_shown(text)}, but a percentage does not fit here")
        return number / 100.0
    factor = _factor(re.sub(r"\s", "", unit), dimension)
    # Dividing by 1e6 is exact where multiplying by 1e-6 is not: "5 us" is the float 5e-6.
    return number / round(1.0 / factor) if factor < 1.0 else number * factor


@functools.cache
def _registry() -> pint.UnitRegistry[float]:
    """A registry with only the units of this field; built once because pint takes milliseconds for it."""
    import pint

    registry: pint.UnitRegistry[float] = pint.UnitRegistry(None, cache_folder=None)
    for line in _DEFINITIONS.strip().splitlines():
        registry.define(line)
    return registry


@functools.lru_cache(maxsize=256)
def _factor(unit: str, dimension: str) -> float:
    """SI value of one ``unit``; ValueError when unknown or of another dimension."""
    import pint

    registry = _registry()
    per_second = _PER_SECOND.fullmatch(unit)
    name = f"{per_second['unit']}/s" if per_second else unit
    try:
        parsed = registry.parse_units(name)
        return float(registry.Quantity(1.0, parsed).to(DIMENSIONS[dimension].unit).magnitude)
    except pint.DimensionalityError:
        raise ValueError(f"found the unit '{unit}', which does not measure {_meaning(dimension)}") from None
    except (pint.UndefinedUnitError, pint.DefinitionSyntaxError, AttributeError, TypeError):
        raise ValueError(f"found the unknown unit '{unit}'") from None


def _meaning(dimension: str) -> str:
    return "a plain number" if dimension == "1" else dimension


def _count(value: object, binary: bool) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    match = _COUNT.fullmatch(value) if isinstance(value, str) and len(value) <= 100 else None
    if match is None:
        return None
    suffix = match["suffix"].upper()
    table = _BINARY if binary else _DECIMAL
    if suffix.endswith("I"):
        suffix, table = suffix[:-1], _BINARY
    if suffix not in table:
        return None
    number = float(match["number"])
    if not math.isfinite(number):
        return None
    scaled = number * table[suffix]
    return round(scaled) if abs(scaled - round(scaled)) <= 1e-9 * max(1.0, abs(scaled)) else None


def _scaled(value: float, unit: str, step: float, infix: str) -> str:
    prefixes = ("", "K" if infix else "k", "M", "G", "T", "P", "E")
    index = 0
    scaled = float(value)
    while abs(scaled) >= 0.9995 * step and index < len(prefixes) - 1:
        scaled /= step
        index += 1
    mark = infix if index else ""
    digits = f"{scaled:.0f}" if abs(scaled) >= 999.5 else f"{scaled:.3g}"
    return f"{digits} {prefixes[index]}{mark}{unit}"
