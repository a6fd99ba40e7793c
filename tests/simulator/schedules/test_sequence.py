"""Seq1F1B: its order, its closed forms, and slices of equal compute."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.pipeline import PassSeconds, run_pipeline
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.sequence import equal_compute_slices, seq1f1b
from planner.simulator.schedules.tokens import rows, token


def test_the_order_of_two_ranks_and_two_slices() -> None:
    """Micro-batches a, b in slices 0, 1 are units 0, 1 and 2, 3; rank 0 warms up with p - r - 2 + k = 2, rank 1 with 1."""
    schedule = seq1f1b(2, 2, 2)
    cells = [" ".join(token(row) for row in rows(actions)) for actions in schedule.actions]
    assert cells == [
        "0F0 0F1 0F2 0B1 0F3 0B0 0B3 0B2",
        "1F0 1F1 1B1 1F2 1B0 1F3 1B3 1B2",
    ]
    assert schedule.slices == 2


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_one_slice_is_1f1b(ranks: int) -> None:
    sliced, plain = seq1f1b(ranks, 6, 1), make_schedule("1f1b", ranks=ranks, micro_batches=6)
    for one, other in zip(sliced.actions, plain.actions, strict=True):
        assert rows(one) == rows(other)


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("slices", [1, 2, 4])
@pytest.mark.parametrize(("f", "b"), [(1.0, 2.0), (1.0, 2.5), (1.3, 2.1)])
def test_bubble_and_peak(ranks: int, slices: int, f: float, b: float) -> None:
    """Bubble (p-1)(f+b)/k; rank r holds at most min(p-1-r+k, mk) slices, 1/k of a micro-batch each."""
    for micro_batches in (1, ranks, 2 * ranks + 3):
        k = slices
        run = run_pipeline(seq1f1b(ranks, micro_batches, k), PassSeconds(f / k, b / k, 0.0, 0.0))
        assert run.global_bubble_s == pytest.approx((ranks - 1) * (f + b) / k, rel=1e-9)
        expected = [min(ranks - 1 - rank + k, micro_batches * k) / k for rank in range(ranks)]
        assert run.peak_in_flight == pytest.approx(expected, rel=1e-9)


def cost(tokens: int, linear: float, quadratic: float) -> float:
    return linear * tokens + quadratic * tokens * tokens / 2.0


def bisected(seq_len: int, slices: int, linear: float, quadratic: float) -> list[int]:
    """Ends of slices: for each the token count whose cost is nearest to its share, by bisection over real numbers."""
    ends = []
    for j in range(1, slices + 1):
        low, high = 0.0, float(seq_len)
        for _ in range(80):
            middle = (low + high) / 2.0
            share = (linear * middle + quadratic * middle * middle / 2.0) / cost(seq_len, linear, quadratic)
            low, high = (middle, high) if share < j / slices else (low, middle)
        ends.append(round(low))
    return ends


@pytest.mark.parametrize(
    ("linear", "quadratic"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1e-3), (3.7, 1.1e-4), (1e-9, 2e-13)]
)
@pytest.mark.parametrize("slices", [1, 2, 3, 4, 8])
def test_slices_are_where_bisection_puts_them(linear: float, quadratic: float, slices: int) -> None:
    lengths = equal_compute_slices(32768, slices, linear, quadratic)
    ends = [sum(lengths[: j + 1]) for j in range(slices)]
    assert ends == bisected(32768, slices, linear, quadratic)


def test_slices_by_hand() -> None:
    """Attention alone: a half of the work lies in the last 1 - 1/sqrt(2) of the tokens."""
    assert equal_compute_slices(1000, 2, 0.0, 1.0) == (707, 293)
    assert equal_compute_slices(4096, 4, 1.0, 0.0) == (1024, 1024, 1024, 1024)
    assert equal_compute_slices(5, 5, 0.0, 1.0) == (1, 1, 1, 1, 1)


@given(
    st.integers(1, 5000),
    st.integers(1, 40),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
)
def test_slices_cover_the_sequence(seq_len: int, slices: int, linear: float, quadratic: float) -> None:
    if slices > seq_len or not (linear > 1e-6 or quadratic > 1e-6):
        return
    lengths = equal_compute_slices(seq_len, slices, linear, quadratic)
    assert len(lengths) == slices
    assert sum(lengths) == seq_len
    assert min(lengths) >= 1


@pytest.mark.parametrize(
    ("seq_len", "slices", "linear", "quadratic"),
    [(4, 5, 1.0, 0.0), (4, 0, 1.0, 0.0), (4, 2, 0.0, 0.0), (4, 2, -1.0, 0.0), (4, 2, float("nan"), 1.0)],
)
def test_bad_slices(seq_len: int, slices: int, linear: float, quadratic: float) -> None:
    with pytest.raises(PlannerError):
        equal_compute_slices(seq_len, slices, linear, quadratic)
