"""Warm-up, outliers, median and spread of made series."""

from __future__ import annotations

import pytest

from planner.calibration.steps.series import steady


def test_warm_up_and_checkpoints_do_not_count() -> None:
    seconds = [9.0, 2.0, 1.02, 1.0, 0.98, 1.01, 4.0, 0.99, 1.0]
    found = steady(range(1, 10), seconds)
    assert found.warm_up == (1, 2)
    assert found.outliers == (7,)
    assert (found.seconds, found.count) == (1.0, 6)
    assert found.spread == pytest.approx(1.4826 * 0.01)  # deviations .02 0 .02 .01 .01 0: median .01


def test_a_first_step_that_returns_too_early_is_warm_up() -> None:
    assert steady([1, 2, 3, 4], [0.6, 10.2, 10.3, 10.2]).warm_up == (1,)


def test_one_step() -> None:
    found = steady([5], [3.0])
    assert (found.seconds, found.spread, found.count, found.warm_up) == (3.0, 0.0, 1, ())
