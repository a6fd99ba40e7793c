"""The checker itself: what it must refuse, and what finite buffers do to orders that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.simulator.schedules.check import deadlock
from planner.simulator.schedules.schedule import Actions, Kind, Schedule, one_chain
from planner.simulator.schedules.sequence import seq1f1b
from planner.simulator.schedules.tokens import parse_token
from tests.simulator.legality import Illegal, check_legal, smallest_capacity, stuck


def schedule(*ranks: str, rank_of: tuple[int, ...] | None = None) -> Schedule:
    """One chain, by the cells of each rank."""
    actions = []
    units = 0
    for cells in ranks:
        rows = []
        for cell in cells.split():
            row = parse_token(cell)
            assert row is not None
            rows.append(row)
            units = max(units, row[2] + 1, row[4] + 1)
        actions.append(Actions.of(rows))
    places = rank_of if rank_of is not None else tuple(range(len(ranks)))
    return one_chain("by hand", np.array(places), units, tuple(actions))


LEGAL = ("0F0 0F1 0B0 0B1", "1F0 1B0 1F1 1B1")


def test_a_legal_schedule_passes() -> None:
    check_legal(schedule(*LEGAL))
    check_legal(schedule("0F0 0F1 0I0 0W0 0B1", "1F0 1I0 1F1 1W0 1I1 1W1"))


@pytest.mark.parametrize(
    ("ranks", "words"),
    [
        (("0F0 0F1 0B0", LEGAL[1]), "stage 0, unit 1"),
        (("0F0 0F1 0F1 0B0 0B1", LEGAL[1]), "stage 0, unit 1"),
        (("0F0 0F1 0B0 0B1 0B1", LEGAL[1]), "stage 0, unit 1"),
        (("0F0 0F1 0B0 0I1", LEGAL[1]), "stage 0, unit 1"),
        (("0F0 0F1 0B0 0B1 0W1", LEGAL[1]), "stage 0, unit 1"),
        (("0F0 0F1 0B0 0W1 0I1", LEGAL[1]), "for ('I', 0, 1)"),
        (("0F0 0F1 0B1 0B0", LEGAL[1]), ""),  # legal order, see below
        (("0B0 0F0 0F1 0B1", LEGAL[1]), "for ('F', 0, 0)"),
        (("0F0 0B0 0F1 0B1", "1F0 1F1 1B0 1B1"), "rank 0 waits"),
        (("0F0 0F1 0B0 1F0 0B1", "1F1 1B0 1B1"), "rank 0 runs 1F0"),
    ],
)
def test_what_is_refused(ranks: tuple[str, ...], words: str) -> None:
    if not words:
        check_legal(schedule(*ranks))
        return
    with pytest.raises(Illegal) as caught:
        check_legal(schedule(*ranks))
    assert words in str(caught.value)


def test_units_beyond_the_schedule_are_refused() -> None:
    good = schedule(*LEGAL)
    with pytest.raises(Illegal, match="does not handle"):
        check_legal(replace(good, count=np.array([1, 1])))


def test_two_chains_each_have_their_units() -> None:
    """Stages 0, 1 go down the ranks with micro-batch 0, stages 2, 3 come up with micro-batch 1."""
    rows = [
        [(Kind.F, 0, 0), (Kind.F, 3, 1), (Kind.B, 3, 1), (Kind.B, 0, 0)],
        [(Kind.F, 2, 1), (Kind.F, 1, 0), (Kind.B, 1, 0), (Kind.B, 2, 1)],
    ]
    both = Schedule(
        name="both ways",
        rank_of=np.array([0, 1, 1, 0]),
        previous=np.array([-1, 0, -1, 2]),
        model_stage=np.array([0, 1, 0, 1]),
        first=np.array([0, 0, 1, 1]),
        count=np.array([1, 1, 1, 1]),
        actions=tuple(Actions.of([(int(kind), stage, unit) for kind, stage, unit in row]) for row in rows),
    )
    check_legal(both)
    with pytest.raises(Illegal):
        check_legal(replace(both, first=np.array([0, 0, 0, 0])))


def test_an_overlapped_pair_needs_both_inputs() -> None:
    good = schedule("0F0 (0F1;0B0)OVERLAP_F_B 0B1", "1F0 1B0 1F1 1B1")
    check_legal(good)
    bad = schedule("0F0 0F1 0B0 0B1", "(1F0;1B0)OVERLAP_F_B 1F1 1B1")
    with pytest.raises(Illegal, match="rank 1 waits"):
        check_legal(bad)


def test_buffers_run_out_when_a_sender_is_far_ahead() -> None:
    """Rank 1 wants micro-batch 2 first: three messages must fit between the ranks."""
    late = schedule("0F0 0F1 0F2 0B2 0B1 0B0", "1F2 1F1 1F0 1B2 1B1 1B0")
    assert smallest_capacity(late) == 3
    assert stuck(late, 2) != []
    with pytest.raises(Illegal, match="room between ranks 0 and 1"):
        check_legal(late, capacity=2)
    check_legal(late, capacity=3)


def test_slices_go_forward_in_order_and_back_in_reverse() -> None:
    good = seq1f1b(2, 1, 2)
    check_legal(good)
    forward = Actions.of([(int(Kind.F), 0, 1), (int(Kind.F), 0, 0), (int(Kind.B), 0, 1), (int(Kind.B), 0, 0)])
    backward = Actions.of(
        [(int(Kind.F), 0, 0), (int(Kind.F), 0, 1), (int(Kind.B), 0, 0), (int(Kind.B), 0, 1)]
    )
    for wrong in (forward, backward):
        with pytest.raises(Illegal, match="slice"):
            check_legal(replace(one_chain("one", np.array([0]), 2, (wrong,)), slices=2))


def test_planner_and_checker_agree_on_who_waits() -> None:
    assert deadlock(schedule(*LEGAL)) is None
    circle = deadlock(schedule("0F0 0B0 0F1 0B1", "1F0 1F1 1B0 1B1"))
    assert circle == (
        "rank 0 waits at 0B0 (action 2) for 1B0 of rank 1; rank 1 waits at 1F1 (action 2) for 0F1 of rank 0"
    )
    itself = deadlock(schedule("0B0 0F0", "1F0 1B0"))
    assert itself is not None
    assert "rank 1" in itself or "comes later on it" in itself
