"""Summaries and rank correlation against hand arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.validation.runs.statistics import kendall_tau, mean_of, summarise

numbers = st.lists(st.integers(0, 1000), min_size=2, max_size=12)


def test_summary_by_hand() -> None:
    found = summarise([-0.1, 0.3, 0.2])
    assert found is not None
    assert found.median_ape == pytest.approx(0.2)
    assert found.mean_ape == pytest.approx(0.2)
    assert found.bias == pytest.approx(0.2)
    assert found.p90_ape == pytest.approx(0.2 + 0.8 * 0.1)
    assert summarise([]) is None


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3], [10, 20, 30], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 2, 4, 3], 4 / 6),
        ([1, 1, 2], [1, 2, 3], 2 / (2**0.5 * 3**0.5)),
        ([1, 1, 1], [1, 2, 3], None),
    ],
)
def test_tau_by_hand(first: list[int], second: list[int], tau: float | None) -> None:
    """Five of six pairs agree and one does not: (5 - 1) / 6; a tied pair leaves its side's count of pairs."""
    found = kendall_tau(first, second)
    assert found == (None if tau is None else pytest.approx(tau))


@given(numbers)
def test_an_order_agrees_with_itself(values: list[int]) -> None:
    if len(set(values)) > 1:
        assert kendall_tau(values, values) == pytest.approx(1.0)
        assert kendall_tau(values, [-value for value in values]) == pytest.approx(-1.0)


def test_mean_of_what_is_there() -> None:
    assert mean_of([None, 1.0, 3.0]) == 2.0
    assert mean_of([None]) is None
