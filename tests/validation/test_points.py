"""Errors beyond rounding, scores of groups, and the overall figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.validation.points import Comparison, Point, joined, printed_half_width


def point(measured: float, predicted: float | None, *, group: str = "a", apart: str | None = None) -> Point:
    reason = "not modelled" if predicted is None else None
    return Point("id", {"operator": group}, "", measured, 0.5, predicted, reason, apart)


@pytest.mark.parametrize(
    ("predicted", "beyond"),
    [(10.0, 0.0), (10.4, 0.0), (9.5, 0.0), (12.0, 0.15), (8.0, -0.15), (10.6, 0.01)],
)
def test_an_error_counts_from_the_edge_of_the_rounding(predicted: float, beyond: float) -> None:
    assert point(10.0, predicted).error_beyond == pytest.approx(beyond)
    assert point(10.0, predicted).error == pytest.approx(predicted / 10 - 1)


def test_a_group_is_scored_by_its_absolute_errors_and_its_median_signed_error() -> None:
    (score,) = Comparison((point(10, 12.5), point(10, 6.5), point(10, 10), point(10, None))).scores()
    assert (score.n, score.predicted) == (4, 3)
    assert score.median_ape == pytest.approx(0.2)
    assert score.mean_ape == pytest.approx((0.2 + 0.3) / 3)
    assert score.worst_ape == pytest.approx(0.3)
    assert score.p90_ape == pytest.approx(0.28)  # between 0.2 and 0.3, eight tenths of the way
    assert score.bias == pytest.approx(0.0)


def test_a_group_without_predictions_has_no_errors() -> None:
    (score,) = Comparison((point(10, None),)).scores()
    assert (score.n, score.predicted, score.median_ape, score.bias) == (1, 0, None, None)


def test_overall_counts_groups_of_three_and_leaves_out_what_is_scored_apart() -> None:
    counted = [point(10, 12.5)] * 3
    small = [point(10, 30, group="b")] * 2
    apart = [point(10, 40, group="c", apart="network not stated")] * 3
    overall = Comparison((*counted, *small, *apart, point(10, None, group="d"))).overall()
    assert overall.macro_median_ape == pytest.approx(0.2)
    assert overall.macro_p90_ape is None  # no group of five
    assert overall.apart_macro_median_ape == pytest.approx(2.95)
    assert (overall.n, overall.predicted, overall.refused, overall.apart) == (9, 8, 1, 3)


def test_the_worst_points_are_the_largest_counted_errors() -> None:
    points = (point(10, 12), point(10, 2), point(10, 90, apart="doubted"), point(10, None))
    assert [item.predicted_s for item in Comparison(points).worst(1)] == [2]


def test_refusals_are_counted_by_reason() -> None:
    assert Comparison((point(1, None), point(1, None), point(1, 1))).refusals() == {"not modelled": 2}


def test_joined_comparisons_keep_points_and_assumptions() -> None:
    both = joined([Comparison((point(1, 1),), {"x": "a"}), Comparison((point(1, 2),), {"y": "b"})])
    assert len(both.points) == 2
    assert both.assumptions == {"x": "a", "y": "b"}


def test_json_has_groups_overall_and_rows() -> None:
    answer = Comparison((point(10, 12.5), point(10, None, group="b"))).to_json()
    assert answer["groups"][0]["operator"] == "a"
    assert answer["groups"][1]["median_ape"] is None
    assert answer["rows"][0]["error"] == pytest.approx(0.25)
    assert answer["rows"][0]["error_beyond"] == pytest.approx(0.2)
    assert answer["rows"][1]["refused_because"] == "not modelled"
    assert answer["rows"][0]["interval_s"] is None
    assert answer["groups"][0]["coverage"] is None
    assert answer["refused"] == {"not modelled": 1}


@pytest.mark.parametrize(
    ("column", "half_width"),
    [
        ([8.0, 19.0, 14.5], 0.5),  # whole numbers and one mean of two
        ([1.2, 2.17, 4.86, 9.54], 0.005),
        ([46.0, 43.0], 0.5),
        ([100.0, 200.0], 0.5),  # never coarser than one
        ([101.4, 133.5, 276.6, 424.0], 0.05),
        ([], 0.0),
    ],
)
def test_the_last_printed_digit(column: list[float], half_width: float) -> None:
    assert printed_half_width(column) == pytest.approx(half_width)


@given(
    st.lists(st.floats(1.0, 1e5), min_size=1, max_size=50),
    st.integers(0, 4),
)
def test_rounding_alone_is_never_an_error(values: list[float], decimals: int) -> None:
    printed = np.round(values, decimals)
    half_width = printed_half_width(printed)
    for value, shown in zip(values, printed, strict=True):
        measured = Point("id", {}, "", float(shown), half_width, value)
        assert measured.error_beyond == pytest.approx(0.0, abs=1e-9)
