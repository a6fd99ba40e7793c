"""Both solvers against enumeration, their bounds, time limits and starts."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.solvers.linear import BACK_ENDS, BackEnd, Builder, Programme, solve


def bag(weights: list[int], values: list[int], most: int) -> tuple[Programme, np.ndarray]:
    """0/1 knapsack."""
    builder = Builder()
    x = builder.variables("x", len(weights), upper=1, cost=-np.array(values, float), integer=True)
    builder.add("weight", (x[None], np.array(weights)), upper=most, meaning="what the bag holds", unit="kg")
    return builder.programme(), x


def market_split(rows: int = 4, columns: int = 30, seed: int = 1) -> Programme:
    """Cornuejols and Dawande's market split problem (IPCO 1998): tiny, and far from solved in a second."""
    generator = np.random.default_rng(seed)
    shares = generator.integers(0, 100, (rows, columns)).astype(float)
    builder = Builder()
    x = builder.variables("x", columns, upper=1, integer=True)
    over = builder.variables("over", rows, cost=1.0)
    under = builder.variables("under", rows, cost=1.0)
    sides = np.floor(shares.sum(axis=1) / 2)
    builder.add("split", (np.tile(x, (rows, 1)), shares), (over, 1.0), (under, -1.0), equal=sides)
    return builder.programme()


@pytest.mark.parametrize("back_end", BACK_ENDS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_knapsacks_equal_enumeration(back_end: BackEnd, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 7))
    weights = data.draw(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    values = data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    most = data.draw(st.integers(0, 30))
    best = max(
        sum(v for v, taken in zip(values, choice, strict=True) if taken)
        for choice in itertools.product((0, 1), repeat=count)
        if sum(w for w, taken in zip(weights, choice, strict=True) if taken) <= most
    )
    programme, x = bag(weights, values, most)
    solution = solve(programme, back_end)
    assert solution.status == "optimal"
    assert solution.values is not None
    assert solution.objective == pytest.approx(-best)
    assert set(np.unique(solution.values[x])) <= {0.0, 1.0}
    assert solution.bound == pytest.approx(-best, abs=1e-6)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_linear_programme_by_hand(back_end: BackEnd) -> None:
    """max 3x + 5y with x <= 4, 2y <= 12, 3x + 2y <= 18 (Hillier and Lieberman's Wyndor Glass): 36 at (2, 6)."""
    builder = Builder()
    x, y = builder.variables("x", cost=-3.0), builder.variables("y", cost=-5.0)
    builder.add("first", (x, 1.0), upper=4.0)
    builder.add("second", (y, 2.0), upper=12.0)
    builder.add("third", (x, 3.0), (y, 2.0), upper=18.0)
    solution = solve(builder.programme(), back_end)
    assert solution.proved
    assert solution.values == pytest.approx([2.0, 6.0])
    assert (solution.objective, solution.bound) == (pytest.approx(-36.0), pytest.approx(-36.0))


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_what_no_values_can_do(back_end: BackEnd) -> None:
    builder = Builder()
    x = builder.variables("x", cost=-1.0)
    builder.add("least", (x, 1.0), lower=1.0)
    assert solve(builder.programme(), back_end).status == "unbounded"
    builder.add("most", (x, 1.0), upper=0.5)
    solution = solve(builder.programme(), back_end)
    assert (solution.status, solution.values, solution.gap) == ("infeasible", None, None)
    halves = Builder()
    whole = halves.variables("whole", upper=5, integer=True, cost=1.0)
    halves.add("odd", (whole, 2.0), equal=3.0)
    assert solve(halves.programme(), back_end).status == "infeasible"
    assert solve(halves.programme(), back_end, relaxed=True).objective == pytest.approx(1.5)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_time_limit_is_told_with_its_gap(back_end: BackEnd) -> None:
    """PuLP's own status reads "Optimal" here."""
    begin = time.monotonic()
    solution = solve(market_split(), back_end, time_limit_s=1.0)
    assert solution.status == "feasible"
    assert not solution.proved
    assert solution.objective is not None
    assert solution.bound < solution.objective
    assert solution.gap is not None
    assert solution.gap > 0.01
    assert time.monotonic() - begin < 30.0


def test_a_time_limit_may_leave_nothing() -> None:
    solution = solve(market_split(), "highs", time_limit_s=1e-9)
    assert solution.status in ("none", "feasible")
    assert (solution.values is None) == (solution.status == "none")


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_start_is_never_lost(back_end: BackEnd) -> None:
    programme = market_split()
    known = solve(programme, "highs", time_limit_s=1.0)
    assert known.values is not None
    assert known.objective is not None
    again = solve(programme, back_end, time_limit_s=0.2, start=known.values)
    assert again.objective is not None
    assert again.objective <= known.objective + 1e-9
    broken = known.values + 0.5
    assert not solve(programme, back_end, time_limit_s=0.2, start=broken).from_start


def test_equal_runs_give_equal_answers() -> None:
    programme, _ = bag([3, 3, 3, 3], [2, 2, 2, 2], 6)
    first, second = (solve(programme, "highs", seed=7) for _ in range(2))
    assert first.values is not None
    assert second.values is not None
    assert first.values.tolist() == second.values.tolist()


def test_rows_with_two_sides_are_kept_by_both() -> None:
    builder = Builder()
    x = builder.variables("x", lower=-np.inf, cost=1.0)
    builder.add("between", (x, 1.0), lower=-2.0, upper=3.0)
    for back_end in BACK_ENDS:
        assert solve(builder.programme(), back_end).objective == pytest.approx(-2.0)


def test_an_unknown_back_end() -> None:
    with pytest.raises(PlannerError, match="highs, cbc"):
        solve(market_split(), "glpk")  # type: ignore[arg-type]
