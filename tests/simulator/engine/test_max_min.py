"""Rates of flows that share links."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.engine.shared import max_min_rates
from tests.simulator.engine.programs import BYTES, CAPACITIES, Load, loads, routes
from tests.simulator.engine.reference import fair_rates

PLENTY = 1e9


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[list[Load]], list[float], list[float]]:
    """Routes, caps and capacities of up to 10 flows on up to 5 links."""
    count = draw(st.integers(1, 5))
    rows = draw(st.lists(loads(count), min_size=1, max_size=10))
    caps = [draw(BYTES) for _ in rows]
    return rows, caps, [draw(CAPACITIES) for _ in range(count)]


def usage_rows(rows: list[list[Load]]) -> list[dict[int, float]]:
    """Bytes on each link per byte on the most loaded one."""
    return [{link: size / max(size for _, size in row) for link, size in row} for row in rows]


def test_two_flows_on_one_link_get_half_each() -> None:
    rates = max_min_rates(routes([[(0, 5.0)], [(0, 3.0)]]), np.full(2, PLENTY), np.array([10.0]))
    assert rates.tolist() == [5.0, 5.0]


def test_five_flows_on_three_links() -> None:
    """Link 0 (6 B/s) carries flows 0, 1, 2; link 1 (8 B/s) flows 2, 3; link 2 (20 B/s) flows 3, 4.

    Link 0 fills first: 6 / 3 = 2 each, against 8 / 2 = 4 and 20 / 2 = 10. Link 1 has 8 - 2 = 6 left for flow 3;
    link 2 then 20 - 6 = 14 for flow 4.
    """
    rows = [[(0, 1.0)], [(0, 1.0)], [(0, 1.0), (1, 1.0)], [(1, 1.0), (2, 1.0)], [(2, 1.0)]]
    rates = max_min_rates(routes(rows), np.full(5, PLENTY), np.array([6.0, 8.0, 20.0]))
    assert rates.tolist() == [2.0, 2.0, 2.0, 6.0, 14.0]


def test_five_flows_on_three_links_with_caps() -> None:
    """The same links; flow 0 cannot use more than 1, flow 3 not more than 3.

    Flow 0 stops at 1; flows 1, 2 share 6 - 1 = 5 on link 0: 2.5 each. Flow 3 stops at its 3 (link 1 holds
    2.5 + 3 = 5.5 of 8), which leaves 20 - 3 = 17 for flow 4.
    """
    rows = [[(0, 1.0)], [(0, 1.0)], [(0, 1.0), (1, 1.0)], [(1, 1.0), (2, 1.0)], [(2, 1.0)]]
    caps = np.array([1.0, PLENTY, PLENTY, 3.0, PLENTY])
    rates = max_min_rates(routes(rows), caps, np.array([6.0, 8.0, 20.0]))
    assert rates.tolist() == [1.0, 2.5, 2.5, 3.0, 17.0]


def test_uneven_loads_weigh_a_flow_on_each_link() -> None:
    """Flow 1 loads link 1 fully and link 0 by a quarter: on link 0 (100 B/s) x + x / 4 = 100, x = 80 < 100."""
    rows = [[(0, 100.0)], [(0, 50.0), (1, 200.0)]]
    rates = max_min_rates(routes(rows), np.full(2, 100.0), np.array([100.0, 100.0]))
    assert rates.tolist() == [80.0, 80.0]


def test_a_flow_without_links_runs_at_its_cap() -> None:
    rates = max_min_rates(routes([[], [(0, 1.0)]]), np.array([7.0, 3.0]), np.array([2.0]))
    assert rates.tolist() == [7.0, 2.0]


@pytest.mark.parametrize("capacity", [0.0, -1.0, float("nan")])
def test_a_link_without_capacity_is_refused(capacity: float) -> None:
    with pytest.raises(PlannerError, match="capacity is above 0"):
        max_min_rates(routes([[(0, 1.0)]]), np.ones(1), np.array([capacity]))


@given(networks())
@settings(max_examples=200)
def test_rates_equal_a_slow_exact_filling(case: tuple[list[list[Load]], list[float], list[float]]) -> None:
    rows, caps, capacity = case
    expected = fair_rates(usage_rows(rows), caps, capacity)
    np.testing.assert_allclose(
        max_min_rates(routes(rows), np.array(caps), np.array(capacity)), expected, rtol=1e-9
    )


@given(networks())
@settings(max_examples=200)
def test_every_flow_has_a_reason_not_to_be_faster(
    case: tuple[list[list[Load]], list[float], list[float]],
) -> None:
    """The certificate of max-min fairness: its cap, or a full link on which nobody is faster."""
    rows, caps, capacity = case
    rates, usage = max_min_rates(routes(rows), np.array(caps), np.array(capacity)), usage_rows(rows)
    carried = [
        sum(rate * row.get(link, 0) for rate, row in zip(rates, usage, strict=True))
        for link in range(len(capacity))
    ]
    assert all(load <= room * (1 + 1e-9) for load, room in zip(carried, capacity, strict=True))
    full = {link for link, room in enumerate(capacity) if carried[link] >= room * (1 - 1e-9)}
    for flow, row in enumerate(usage):
        fastest_on = [link for link in full & set(row) if _fastest(link, flow, usage, rates)]
        assert rates[flow] >= caps[flow] * (1 - 1e-9) or fastest_on


def _fastest(
    link: int,
    flow: int,
    usage: list[dict[int, float]],
    rates: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> bool:
    others = [rates[other] for other, row in enumerate(usage) if link in row]
    return bool(rates[flow] >= max(others) * (1 - 1e-9))
