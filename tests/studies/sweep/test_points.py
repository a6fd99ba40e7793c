"""Grids and samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.studies.sweep.points import sweep_points
from planner.studies.sweep.values import Axis, Draw


def test_a_grid_has_every_combination_with_the_last_field_fastest() -> None:
    points = sweep_points((Axis("a", (1, 2)), Axis("b", ("x", "y"))))
    assert points == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 1000))
def test_more_samples_begin_with_the_same_ones(few: int, more: int, seed: int) -> None:
    axes = (Axis("a", draw=Draw(0.0, 1.0, logarithmic=False, whole=False)), Axis("b", (1, 2, 3)))
    start, whole = sweep_points(axes, few, seed), sweep_points(axes, few + more, seed)
    assert whole[: len(start)] == start
    assert start != sweep_points(axes, few, seed + 1)


def test_a_point_that_is_drawn_twice_is_one() -> None:
    assert len(sweep_points((Axis("a", (1, 2)),), 100, 0)) == 2


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ((Axis("a", (1,)), Axis("a", (2,))), "varied twice"),
        ((Axis("a", draw=Draw(1, 2, logarithmic=False, whole=True)),), "--samples"),
        ((Axis("a", tuple(range(2000))), Axis("b", tuple(range(2000)))), "4,000,000 points"),
    ],
)
def test_what_is_no_sweep(axes: tuple[Axis, ...], words: str) -> None:
    with pytest.raises(PlannerError, match=words):
        sweep_points(axes)
