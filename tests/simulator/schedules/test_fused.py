"""Orders of GPipe, 1F1B and eager 1F1B, written out by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.simulator.schedules.fused import eager_1f1b, gpipe, one_f_one_b
from tests.simulator.schedules.cells import table


def test_gpipe() -> None:
    assert table(gpipe(2, 3)) == {
        0: ["0F0", "0F1", "0F2", "0B0", "0B1", "0B2"],
        1: ["1F0", "1F1", "1F2", "1B0", "1B1", "1B2"],
    }


def test_one_f_one_b() -> None:
    """Ranks 0, 1, 2 warm up with 2, 1, 0 forwards."""
    assert table(one_f_one_b(3, 4)) == {
        0: ["0F0", "0F1", "0F2", "0B0", "0F3", "0B1", "0B2", "0B3"],
        1: ["1F0", "1F1", "1B0", "1F2", "1B1", "1F3", "1B2", "1B3"],
        2: ["2F0", "2B0", "2F1", "2B1", "2F2", "2B2", "2F3", "2B3"],
    }


def test_eager_1f1b() -> None:
    """Ranks 0, 1, 2 warm up with 4, 2, 0 forwards; rank 0 has only four."""
    assert table(eager_1f1b(3, 4)) == {
        0: ["0F0", "0F1", "0F2", "0F3", "0B0", "0B1", "0B2", "0B3"],
        1: ["1F0", "1F1", "1F2", "1B0", "1F3", "1B1", "1B2", "1B3"],
        2: ["2F0", "2B0", "2F1", "2B1", "2F2", "2B2", "2F3", "2B3"],
    }


@given(st.integers(1, 8), st.integers(1, 3))
def test_few_micro_batches_are_gpipe(ranks: int, micro_batches: int) -> None:
    """A rank whose warm-up has all micro-batches runs as under GPipe."""
    plain, all_first = table(one_f_one_b(ranks, micro_batches)), table(gpipe(ranks, micro_batches))
    for rank in range(ranks - micro_batches + 1):
        assert plain[rank] == all_first[rank]


def test_one_rank() -> None:
    assert table(one_f_one_b(1, 2)) == {0: ["0F0", "0B0", "0F1", "0B1"]}
    assert table(eager_1f1b(1, 2)) == table(one_f_one_b(1, 2))
