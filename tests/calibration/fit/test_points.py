"""Fits of closed forms: what made the points is found again, outliers and thin evidence move little."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from planner.calibration.fit.constants import Constant, Key, Rule
from planner.calibration.fit.points import FloatArray, fit_points

START = Key("architecture", "toy", "launch_s")
RATE = Key("accelerator", "toy", "alone.matmul")
SIZES = np.geomspace(1.0, 1e4, 60)

CONSTANTS = (
    Constant(START, 1.0, Rule("architecture", "launch_s", "factor", 0.7, 0.01, 100.0)),
    Constant(RATE, 0.5, Rule("accelerator", "alone.matmul", "efficiency", 0.3, 0.1, 0.95)),
)


def times(values: Mapping[Key, float]) -> FloatArray:
    """A start, and sizes at a rate."""
    return values[START] + SIZES / values[RATE]


def test_the_constants_that_made_the_points_are_found() -> None:
    made = times({START: 5.0, RATE: 0.8})
    found = fit_points(CONSTANTS, times, made, np.ones(60)).values
    assert found[START] == pytest.approx(5.0, rel=0.02)
    assert found[RATE] == pytest.approx(0.8, rel=0.01)


def test_one_point_in_ten_far_off_moves_the_constants_little() -> None:
    made = times({START: 5.0, RATE: 0.8})
    made[::10] *= 3.0
    found = fit_points(CONSTANTS, times, made, np.ones(60)).values
    assert found[RATE] == pytest.approx(0.8, rel=0.03)
    assert found[START] == pytest.approx(5.0, rel=0.1)


def test_a_stiff_prior_holds_and_bounds_are_kept() -> None:
    made = times({START: 5.0, RATE: 0.8})
    stiff = fit_points(CONSTANTS, times, made, np.ones(60), stiffness=100.0).values
    assert stiff[START] == pytest.approx(1.0, rel=0.01)
    beyond = fit_points(CONSTANTS, times, times({START: 5.0, RATE: 3.0}), np.ones(60)).values
    assert beyond[RATE] <= 0.95


def test_points_of_no_weight_do_not_count() -> None:
    made = times({START: 5.0, RATE: 0.8})
    weights = np.ones(60)
    made[:30], weights[:30] = 1e3, 1e-9
    assert fit_points(CONSTANTS, times, made, weights).values[RATE] == pytest.approx(0.8, rel=0.02)


def test_which_points_depend_on_which_constant() -> None:
    def apart(values: Mapping[Key, float]) -> FloatArray:
        return np.concatenate((np.full(5, values[START]), SIZES[:5] / values[RATE]))

    found = fit_points(CONSTANTS, apart, apart({START: 2.0, RATE: 0.6}), np.ones(10))
    assert found.responses[:, 0].tolist() == [True] * 5 + [False] * 5
    assert found.responses[:, 1].tolist() == [False] * 5 + [True] * 5
