"""ZB-V and DualPipeV beyond PyTorch's tables: placement, few micro-batches, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.schedules.v_shape import dualpipe_v, v_placement, zb_v
from tests.simulator.legality import check_legal
from tests.simulator.schedules.cells import table


def test_placement() -> None:
    """Rank r holds stages r and 2p - 1 - r: embedding and head meet on rank 0, the turn is local to rank p - 1."""
    assert v_placement(3).tolist() == [0, 1, 2, 2, 1, 0]
    assert zb_v(3, 5).rank_of.tolist() == dualpipe_v(3, 6).rank_of.tolist() == [0, 1, 2, 2, 1, 0]


def test_zb_v_on_two_ranks() -> None:
    """p = 2, m = 3 = 2p - 1: three and one forwards of the first arm, and each rank's passes worked out by hand."""
    assert table(zb_v(2, 3)) == {
        0: [
            *("0F0", "0F1", "0F2", "3F0", "3I0", "3W0", "3F1", "3I1", "3W1"),
            *("0I0", "0W0", "3F2", "3I2", "3W2", "0I1", "0W1", "0I2", "0W2"),
        ],
        1: [
            *("1F0", "2F0", "1F1", "2F1", "2I0", "2W0", "1F2", "1I0", "1W0"),
            *("2F2", "2I1", "2W1", "1I1", "2I2", "1I2", "1W1", "2W2", "1W2"),
        ],
    }


@given(st.integers(1, 6), st.integers(1, 12))
def test_zb_v_is_legal_for_any_number_of_micro_batches(ranks: int, micro_batches: int) -> None:
    check_legal(zb_v(ranks, micro_batches))


@given(st.integers(1, 6), st.integers(0, 12))
def test_dualpipe_v_is_legal(ranks: int, more: int) -> None:
    check_legal(dualpipe_v(ranks, 2 * ranks + more))


def test_dualpipe_v_refuses_fewer_micro_batches_than_stages() -> None:
    with pytest.raises(PlannerError, match="7 micro-batches on 4 ranks; accepted: at least 8"):
        dualpipe_v(4, 7)
