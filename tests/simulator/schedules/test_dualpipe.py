"""DualPipe: two chains, mirrored ranks, the un-fused pair in the middle, refusals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.schedules.dualpipe import dualpipe
from planner.simulator.schedules.schedule import NONE, Kind
from tests.simulator.legality import check_legal
from tests.simulator.schedules.cells import table


def test_two_chains_in_opposite_directions() -> None:
    schedule = dualpipe(4, 10)
    assert schedule.rank_of.tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    assert schedule.model_stage.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert schedule.previous.tolist() == [NONE, 0, 1, 2, NONE, 4, 5, 6]
    assert schedule.following.tolist() == [1, 2, 3, NONE, 5, 6, 7, NONE]
    assert schedule.first.tolist() == [0] * 4 + [5] * 4
    assert schedule.count.tolist() == [5] * 8
    assert schedule.micro_batches == 10


def test_two_ranks_by_hand() -> None:
    """P = 2 (h = 1, q = 0), two micro-batches each way: steps 2, 4, 6 and 8; the middle ranks are all ranks here, so the
    first pair is not fused."""
    assert table(dualpipe(2, 4)) == {
        0: ["0F0", "3F2", "0F1", "3B2", "(3F3;0B0)OVERLAP_F_B", "3B3", "0I1", "0W1"],
        1: ["2F2", "1F0", "2F3", "1B0", "(1F1;2B2)OVERLAP_F_B", "1B1", "2I3", "2W3"],
    }


@given(st.integers(1, 5), st.integers(0, 8))
def test_legal_and_mirrored(half: int, more: int) -> None:
    """Ranks r and P - 1 - r do the same kinds of passes in the same order."""
    schedule = dualpipe(2 * half, 4 * half + 2 * more)
    check_legal(schedule)
    for rank in range(half):
        mirror = schedule.actions[2 * half - 1 - rank]
        assert schedule.actions[rank].kind.tolist() == mirror.kind.tolist()


def test_fused_pairs() -> None:
    """(N/2 - P + q + 1) twice in step 4, h - q - 1 in step 5, one less on the middle ranks (P = 8, N = 20)."""
    for rank, actions in enumerate(dualpipe(8, 20).actions):
        q = min(rank, 7 - rank)
        pairs = 2 * (10 - 8 + q + 1) + (4 - q - 1) - (q == 3)
        assert int((actions.kind == Kind.OVERLAP_F_B).sum()) == pairs


@pytest.mark.parametrize(("ranks", "micro_batches"), [(3, 8), (4, 9), (4, 6)])
def test_refusals(ranks: int, micro_batches: int) -> None:
    with pytest.raises(
        PlannerError, match=f"{micro_batches} micro-batches on {ranks} ranks; accepted: an even"
    ):
        dualpipe(ranks, micro_batches)
