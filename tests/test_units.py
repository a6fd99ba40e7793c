"""Quantities: published conversions, round trips, and every way a unit can be wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.units import (
    DIMENSIONS,
    format_bytes,
    format_count,
    format_rate,
    format_seconds,
    parse_count,
    parse_quantity,
)

# Expected values by hand: 1 byte = 8 bit, SI prefixes in powers of 1000, binary ones in powers of 1024.
CONVERSIONS = [
    ("400 Gb/s", "bytes/s", 400e9 / 8),
    ("400Gbps", "bytes/s", 50e9),
    ("400 Gbit/s", "bytes/s", 50e9),
    ("50 GBps", "bytes/s", 50e9),
    ("3.35 TB/s", "bytes/s", 3.35e12),
    ("10 MiB/s", "bytes/s", 10 * 1024**2),
    ("80 GB", "bytes", 80e9),
    ("80 GiB", "bytes", 80 * 1024**3),
    ("64 KB", "bytes", 64e3),
    ("64 kB", "bytes", 64e3),
    ("64KiB", "bytes", 65536),
    ("1 TiB", "bytes", 1024**4),
    ("989 TFLOP/s", "flop/s", 989e12),
    ("989 TFLOPS", "flop/s", 989e12),
    ("1.979 PFLOP/s", "flop/s", 1.979e15),
    ("3e24 FLOP", "flop", 3e24),
    ("1.5 us", "s", 1.5e-6),
    ("1.5 µs", "s", 1.5e-6),
    ("940 ns", "s", 940e-9),
    ("20 ms", "s", 0.02),
    ("3 min", "s", 180.0),
    ("2 h", "s", 7200.0),
    ("30d", "s", 30 * 86400.0),
    ("700 W", "W", 700.0),
    ("15 kW", "W", 15000.0),
    ("1.2 kWh", "J", 1.2 * 3.6e6),
    ("2.5 USD/h", "usd/h", 2.5),
    ("6%", "1", 0.06),
    ("0.8", "1", 0.8),
    ("1_000 GB", "bytes", 1e12),
    (".5 GB", "bytes", 5e8),
    (4096, "bytes", 4096.0),
    (2.5, "s", 2.5),
    ("2.5", "s", 2.5),
]


@pytest.mark.parametrize(("text", "dimension", "expected"), CONVERSIONS)
def test_quantities_convert_to_si(text: str | float, dimension: str, expected: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(expected, rel=1e-15)


def test_sub_unity_prefixes_are_exact() -> None:
    assert parse_quantity("5 us", "s") == 5e-6
    assert parse_quantity("940 ns", "s") == 940e-9


WRONG = [
    ("80 GB", "bytes/s", "does not measure bytes/s"),
    ("400 Gb/s", "bytes", "does not measure bytes"),
    ("312 TFLOPs", "flop/s", "does not measure flop/s"),
    ("5 parsecs", "bytes", "unknown unit 'parsecs'"),
    ("5 gb/s", "bytes/s", "unknown unit"),
    ("5 us", "1", "does not measure a plain number"),
    ("80%", "bytes", "percentage"),
    ("80 GB ** 2", "bytes", "not 'number unit'"),
    ("2 * 40 GB", "bytes", "not 'number unit'"),
    ("GB", "bytes", "not 'number unit'"),
    ("", "bytes", "not 'number unit'"),
    ("5 GB/GB/s", "bytes/s", "not 'number unit'"),
    ("__import__('os')", "s", "not 'number unit'"),
    ("5 delta_s", "s", "not 'number unit'"),
    ("9" * 5000, "bytes", "not 'number unit'"),
    ("nan", "s", "not 'number unit'"),
    ("inf GB", "bytes", "not 'number unit'"),
    (math.nan, "s", "not a finite number"),
    (math.inf, "bytes", "not a finite number"),
    ("1e999 GB", "bytes", "not a finite number"),
    ("-5 GB", "bytes", "cannot be negative"),
    (-1, "s", "cannot be negative"),
    ("1e30 GB", "bytes", "absurdly large"),
    (10**400, "bytes", "absurdly large"),
    ("5 mB", "bytes", "absurdly small"),
    (True, "bytes", "found True"),
    (None, "s", "found None"),
    ([1], "s", "found [1]"),
]


@pytest.mark.parametrize(("value", "dimension", "reason"), WRONG)
def test_wrong_quantities_name_field_and_example(value: object, dimension: str, reason: str) -> None:
    with pytest.raises(PlannerError) as caught:
        parse_quantity(value, dimension, field="network[0].bandwidth")
    assert caught.value.field == "network[0].bandwidth"
    assert reason in caught.value.message
    assert DIMENSIONS[dimension].example in caught.value.message
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_zero_and_negative_are_accepted_only_where_allowed() -> None:
    assert parse_quantity("0 us", "s") == 0.0
    assert parse_quantity(-3, "s", allow_negative=True) == -3.0
    with pytest.raises(PlannerError, match="greater than zero"):
        parse_quantity(0, "bytes", allow_zero=False)


@given(
    st.floats(min_value=1.0, max_value=1e5),
    st.sampled_from(["KB", "MB", "GB", "TB", "KiB", "MiB", "GiB", "TiB"]),
)
def test_bytes_are_eight_bits(number: float, unit: str) -> None:
    in_bytes = parse_quantity(f"{number!r} {unit}/s", "bytes/s")
    in_bits = parse_quantity(f"{number!r} {unit.replace('B', 'b')}/s", "bytes/s")
    assert in_bytes == pytest.approx(8 * in_bits, rel=1e-12)


@given(st.floats(min_value=1.0, max_value=1e5))
def test_prefixes_are_powers_of_their_base(number: float) -> None:
    for small, large, ratio in (
        ("MB", "GB", 1000),
        ("MiB", "GiB", 1024),
        ("GB", "TB", 1000),
        ("GiB", "TiB", 1024),
    ):
        smaller, larger = (parse_quantity(f"{number!r} {unit}", "bytes") for unit in (small, large))
        assert larger == pytest.approx(ratio * smaller, rel=1e-12)


@given(st.text(max_size=40), st.sampled_from(sorted(DIMENSIONS)))
def test_any_text_is_a_quantity_or_one_error(text: str, dimension: str) -> None:
    try:
        value = parse_quantity(text, dimension, field="x")
    except PlannerError as error:
        value, field = 0.0, error.field
    else:
        field = "x"
    assert field == "x"
    assert math.isfinite(value)
    assert value >= 0


@pytest.mark.parametrize(
    ("value", "binary", "expected"),
    [
        (4096, False, 4096),
        ("4096", False, 4096),
        ("8M", False, 8_000_000),
        ("128K", True, 131_072),
        ("128k", True, 131_072),
        ("128K", False, 128_000),
        ("4Ki", False, 4096),
        ("1.5K", True, 1536),
        ("15T", False, 15 * 10**12),
        ("70B", False, 70 * 10**9),
        (1e9, False, 10**9),
        ("1e9", False, 10**9),
        (0, False, 0),
    ],
)
def test_counts(value: object, binary: bool, expected: int) -> None:
    result = parse_count(value, binary)
    assert result == expected
    assert isinstance(result, int)


@pytest.mark.parametrize(
    "value", ["1.5", 1.5, "x", "8Q", "", None, True, "nan", math.nan, math.inf, "1e400", -1, "-8M", 10**19]
)
def test_wrong_counts(value: object) -> None:
    with pytest.raises(PlannerError) as caught:
        parse_count(value, field="training.global_batch")
    assert caught.value.field == "training.global_batch"


@given(st.integers(min_value=0, max_value=10**9))
def test_counts_read_back(number: int) -> None:
    assert parse_count(str(number)) == parse_count(number) == number
    assert parse_count(f"{number}K", binary=True) == number * 1024


def test_formats() -> None:
    assert format_bytes(80e9) == "80 GB"
    assert format_bytes(80 * 1024**3, binary=True) == "80 GiB"
    assert format_bytes(512) == "512 B"
    assert format_bytes(999.96e6) == "1 GB"
    assert format_rate(450e9) == "450 GB/s"
    assert format_rate(989e12, "FLOP/s") == "989 TFLOP/s"
    assert format_seconds(0) == "0 s"
    assert format_seconds(940e-9) == "940 ns"
    assert format_seconds(1.5e-6) == "1.5 us"
    assert format_seconds(4.36) == "4.36 s"
    assert format_seconds(1800) == "30.0 min"
    assert format_seconds(12.5 * 86400) == "12.5 d"
    assert format_count(512) == "512"
    assert format_count(8.03e9) == "8.03B"
    assert format_count(15e12) == "15T"


@given(st.floats(min_value=1.0, max_value=1e17))
def test_formatted_bytes_parse_back_to_three_digits(value: float) -> None:
    assert parse_quantity(format_bytes(value), "bytes") == pytest.approx(value, rel=6e-3)
    assert parse_quantity(format_bytes(value, binary=True), "bytes") == pytest.approx(value, rel=6e-3)
