"""Options are read in any unit; what makes no sense is refused in one line that names the flag."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.simulator.failures.options import FailureOptions, failure_options


def test_nothing_said_is_the_defaults() -> None:
    assert failure_options() == FailureOptions()


def test_units() -> None:
    options = failure_options(
        mtbf="50000 h",
        checkpoint_interval="20 min",
        checkpoint_seconds="30",
        checkpoint_background="2 min",
        checkpoint_bandwidth="2 GB/s",
        detect="90 s",
        restart="4 min",
        spares="16",
        repair="2 d",
        days="14",
        runs="1K",
        seed="3",
    )
    assert options == FailureOptions(
        1.8e8, 1200.0, 30.0, 120.0, 2e9, 90.0, 240.0, 16, 172800.0, 1209600.0, 1000, 3
    )


@pytest.mark.parametrize("days", ["30", "30 d", "720 h", " 30. ", 30, 30.0])
def test_days_are_days_unless_a_unit_says_otherwise(days: str | float) -> None:
    assert failure_options(days=days).horizon_s == 2592000.0


def test_zeros_that_make_sense() -> None:
    options = failure_options(checkpoint_seconds="0", detect="0", restart="0", repair="0", spares="0")
    assert (options.checkpoint_s, options.detect_s, options.restart_s) == (0.0, 0.0, 0.0)
    assert (options.repair_s, options.spares) == (0.0, 0)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("mtbf", "0", "must be greater than zero; accepted: a quantity such as 50000 h"),
        ("mtbf", "-3 h", "cannot be negative"),
        ("mtbf", "nan", "not 'number unit'"),
        ("mtbf", float("nan"), "not a finite number"),
        ("mtbf", "1e400 h", "not a finite number"),
        ("mtbf", "50 GB", "does not measure s"),
        ("mtbf", "3 fortnights", "unknown unit 'fortnights'"),
        ("checkpoint_interval", "0 s", "must be greater than zero"),
        ("checkpoint_seconds", "-1", "cannot be negative"),
        ("checkpoint_bandwidth", "0 GB/s", "must be greater than zero"),
        ("checkpoint_bandwidth", "2 GB", "does not measure bytes/s"),
        ("detect", "soon", "not 'number unit'"),
        ("restart", "-1 min", "cannot be negative"),
        ("spares", "1.5", "not a whole number"),
        ("spares", "-1", "cannot be negative"),
        ("repair", "inf", "not 'number unit'"),
        ("days", "0", "must be greater than zero"),
        ("days", "-3", "cannot be negative"),
        ("runs", "1", "accepted: 2 or more"),
        ("runs", "many", "not a whole number"),
        ("seed", "x", "not a whole number"),
    ],
)
def test_values_that_make_no_sense(flag: str, value: str | float, message: str) -> None:
    with pytest.raises(PlannerError) as caught:
        failure_options(**{flag: value})
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--{flag.replace('_', '-')}: found")
    assert caught.value.exit_code == 2
