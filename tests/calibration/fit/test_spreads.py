"""Spreads of left-out errors: what was drawn is found again, and intervals hold what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.calibration.fit.coverage import coverage, crossed_coverage
from planner.calibration.fit.problem import FloatArray, Measurement, Problem
from planner.calibration.fit.spreads import (
    LeftOut,
    Unfitted,
    counts,
    fit_layout_spread,
    fit_spreads,
)
from planner.costs.uncertainty import PARTS, Support
from planner.hardware.spreads import Spreads

ROWS = 4000
FITTED = Support(kernels=True, links=True, framework=True, source=True)
UNKNOWN = replace(FITTED, kernels=False)


def drawn(
    supports: list[Support], shares: dict[str, FloatArray], errors: FloatArray
) -> tuple[Problem, LeftOut]:
    """Measurements of four families in turn, with these errors."""
    rows = tuple(
        Measurement(str(i), (f"family {i % 4}", "x"), "m", "s", str(i), 1.0, ((0, i),))
        for i in range(len(errors))
    )
    return Problem((), rows, (), np.ones(len(rows))), LeftOut(
        errors, tuple(supports), shares, counts(supports, shares)
    )


def shares(rows: int, **given: float) -> dict[str, FloatArray]:
    return {part: np.full(rows, given.get(part, 0.0)) for part in PARTS}


def test_spreads_of_fitted_and_prior_kernels_are_found_again() -> None:
    """Half of the rows err by 5 %, half, on kernels that nobody measured, by 15 %; normal errors have lighter tails than
    those that the fit expects, which takes the spread a little down."""
    rng = np.random.default_rng(1)
    supports = [FITTED, UNKNOWN] * (ROWS // 2)
    errors = rng.normal(size=ROWS) * np.array([0.05, 0.15] * (ROWS // 2))
    problem, found = drawn(supports, shares(ROWS, compute=1.0), errors)
    # both kinds of rows must be in every family
    turned = tuple(
        replace(m, group=(f"family {i // 2 % 4}", "x")) for i, m in enumerate(problem.measurements)
    )
    spreads = fit_spreads(replace(problem, measurements=turned), [found])
    assert spreads.compute == pytest.approx(0.05, rel=0.15)
    assert np.hypot(spreads.compute, spreads.compute_prior) == pytest.approx(0.15, rel=0.15)
    assert spreads.host == pytest.approx(Spreads().host, rel=0.01)


def test_intervals_hold_eighty_percent_of_long_tails() -> None:
    """Errors by Student's t of four degrees: four in five lie within the 80 % interval of spreads fitted elsewhere."""
    errors = 0.06 * np.random.default_rng(2).standard_t(4, size=ROWS)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=0.8, communication=0.2), errors)
    (inside,) = crossed_coverage(problem, [found])
    assert set(inside) == {f"family {i}" for i in range(4)}
    for item in inside.values():
        assert item.inside == pytest.approx(0.80, abs=0.03)


def test_coverage_by_hand() -> None:
    """A spread of 0.1 reaches 0.128 to either side: two of three errors lie inside, the width is e^0.256 - 1."""
    problem, found = drawn([FITTED] * 3, shares(3, compute=1.0), np.array([0.12, -0.12, 0.2]))
    one = tuple(replace(m, group=("one", "x")) for m in problem.measurements)
    (item,) = coverage(replace(problem, measurements=one), found, Spreads(compute=0.1)).values()
    assert item.inside == pytest.approx(2 / 3)
    assert item.width == pytest.approx(np.exp(0.25632) - 1)


def test_a_family_of_one_sided_errors_widens_the_others_not_itself() -> None:
    errors = np.tile([0.01, -0.01, 0.3, -0.01], ROWS // 4)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=1.0), errors)
    (inside,) = crossed_coverage(problem, [found])
    assert inside["family 2"].inside == 0.0
    assert inside["family 0"].inside == 1.0
    assert inside["family 0"].width > inside["family 2"].width


def unfitted(errors: FloatArray, readings: int) -> Unfitted:
    """Rows of four sources without fitted runs in turn, ``readings`` errors each, all compute."""
    supports = [replace(FITTED, source=False)] * len(errors)
    starts = np.arange(0, len(errors), readings)
    families = tuple(f"source {i % 4}" for i in range(len(starts)))
    return Unfitted(errors, counts(supports, shares(len(errors), compute=1.0)), starts, families)


def test_sources_without_fitted_runs_tell_how_far_a_source_is_off() -> None:
    """What was fitted errs by 5 %, rows of other sources by 15 %: the spread of a source is the rest."""
    rng = np.random.default_rng(4)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=1.0), rng.normal(size=ROWS) * 0.05)
    spreads = fit_spreads(problem, [found], unfitted(rng.normal(size=ROWS) * 0.15, 1))
    assert spreads.compute == pytest.approx(0.05, rel=0.15)
    assert np.hypot(spreads.compute, spreads.source) == pytest.approx(0.15, rel=0.15)


def test_what_a_row_leaves_open_is_no_error_of_the_model() -> None:
    """One of three readings is right within 5 %, the others are far off: a source adds next to nothing."""
    rng = np.random.default_rng(5)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=1.0), rng.normal(size=ROWS) * 0.05)
    right = rng.normal(size=ROWS) * 0.05
    readings = np.stack([right, right + 1.0, right - 0.7], axis=1).ravel()
    spreads = fit_spreads(problem, [found], unfitted(readings, 3))
    assert np.hypot(spreads.compute, spreads.source) == pytest.approx(0.05, rel=0.15)


def test_a_source_that_is_left_out_says_nothing() -> None:
    """Three of four sources agree with what was fitted, the fourth is 40 % off."""
    rng = np.random.default_rng(6)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=1.0), rng.normal(size=ROWS) * 0.05)
    errors = rng.normal(size=ROWS) * 0.05
    wild = unfitted(np.where(np.arange(ROWS) % 4 == 3, errors + 0.4, errors), 1)
    without = fit_spreads(problem, [found], wild, without="source 3")
    assert without.source < fit_spreads(problem, [found], wild).source
    assert np.hypot(without.compute, without.source) == pytest.approx(0.05, rel=0.15)


def test_noise_between_layouts_is_found_again() -> None:
    """Pairs of layouts share their job's error, however large; what differs by itself is 2 % each."""
    rng = np.random.default_rng(3)
    jobs = ROWS // 2
    errors = np.repeat(rng.normal(0.0, 0.3, jobs), 2) + rng.normal(0.0, 0.02, ROWS)
    problem, found = drawn([FITTED] * ROWS, shares(ROWS, compute=1.0), errors)
    paired = tuple(replace(m, peers=i // 2) for i, m in enumerate(problem.measurements))
    spreads = fit_layout_spread(replace(problem, measurements=paired), found, Spreads())
    assert spreads.layout == pytest.approx(0.02, rel=0.15)
    assert fit_layout_spread(problem, found, Spreads()) == Spreads()
