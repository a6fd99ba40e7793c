"""When a point is done, and what its windows are worth."""

from __future__ import annotations

import pytest

from planner.calibration.measure.repeats import enough, summarise


def test_the_spread_is_the_median_absolute_deviation_over_the_median() -> None:
    found = summarise([10.0, 11.0, 9.0, 10.0, 40.0])  # deviations 0 1 1 0 30: median 1
    assert (found.seconds, found.windows) == (10.0, 5)
    assert found.spread == pytest.approx(0.1)
    assert found.noisy


def test_steady_windows_end_a_point_and_scattered_ones_go_on_to_the_cap() -> None:
    steady, scattered = [1.0, 1.01, 0.99, 1.0, 1.0], [1.0, 2.0, 1.0, 3.0, 2.5]
    assert not enough([value * 1e-3 for value in steady[:4]], 0.02)
    assert enough([value * 1e-3 for value in steady], 0.02)
    assert not enough([value * 1e-3 for value in scattered], 0.02)
    assert enough([value * 1e-3 for value in scattered * 3], 0.02)


def test_long_windows_end_a_point_early() -> None:
    assert enough([0.4, 0.9, 0.6])
    assert not enough([0.4, 0.9])


def test_a_drift_is_no_draw_of_one_time() -> None:
    assert summarise([1.0, 1.0, 1.0, 1.0, 1.2, 1.2, 1.2, 1.2]).noisy
    assert not summarise([1.0, 1.01, 0.99, 1.0, 1.0, 1.01, 0.99]).noisy
