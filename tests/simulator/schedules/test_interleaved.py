"""Interleaved orders: Megatron-Core's groups, PyTorch's rounds, refusals."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.simulator.schedules.interleaved import (
    group_sizes,
    interleaved_1f1b,
    interleaved_zb,
    looped_bfs,
)
from planner.simulator.schedules.zero_bubble import zb_h1
from tests.simulator.schedules.cells import table


def forwards(cells: list[str]) -> list[str]:
    return [cell for cell in cells if "F" in cell]


def test_groups_of_megatron() -> None:
    """p = 2, v = 2, m = 5, groups of 3: Megatron-Core's schedule table runs micro-batches 0 1 2 0 1 2 3 4 3 4 on chunks
    0 0 0 1 1 1 0 0 1 1 (comment of ``get_schedule_table``)."""
    rank = table(interleaved_1f1b(2, 2, 5, group=3))[0]
    assert forwards(rank) == ["0F0", "0F1", "0F2", "2F0", "2F1", "2F2", "0F3", "0F4", "2F3", "2F4"]
    assert [cell for cell in rank if "B" in cell] == [
        *("2B0", "2B1", "2B2", "0B0", "0B1", "0B2"),
        *("2B3", "2B4", "0B3", "0B4"),
    ]


def test_warm_up() -> None:
    """2(p - 1 - r) + (v - 1) g forwards, then one forward and one backward in turn (p = 2, v = 2, m = g = 2)."""
    assert table(interleaved_1f1b(2, 2, 2)) == {
        0: ["0F0", "0F1", "2F0", "2F1", "2B0", "2B1", "0B0", "0B1"],
        1: ["1F0", "1F1", "3F0", "3B0", "3F1", "3B1", "1B0", "1B1"],
    }


def test_looped_bfs() -> None:
    assert table(looped_bfs(2, 2, 2)) == {
        0: ["0F0", "0F1", "2F0", "2F1", "2B1", "2B0", "0B1", "0B0"],
        1: ["1F0", "1F1", "3F0", "3F1", "3B1", "3B0", "1B1", "1B0"],
    }


def test_one_chunk_of_interleaved_zero_bubble_is_zb_h1() -> None:
    assert table(interleaved_zb(4, 1, 12)) == table(zb_h1(4, 12))


@pytest.mark.parametrize(
    ("ranks", "micro_batches", "group", "sizes"),
    [
        (4, 8, None, [4, 4]),
        (4, 12, 6, [6, 6]),
        (4, 10, 6, [6, 4]),
        (4, 13, 13, [13]),
        (1, 3, None, [1, 1, 1]),
    ],
)
def test_group_sizes(ranks: int, micro_batches: int, group: int | None, sizes: list[int]) -> None:
    assert group_sizes(ranks, micro_batches, group, rounds=False) == sizes


@pytest.mark.parametrize(
    ("ranks", "micro_batches", "sizes"), [(4, 10, [5, 5]), (4, 3, [3]), (4, 7, [7]), (4, 15, [5, 5, 5])]
)
def test_rounds(ranks: int, micro_batches: int, sizes: list[int]) -> None:
    """PyTorch: max(1, m // p) equal rounds."""
    assert group_sizes(ranks, micro_batches, None, rounds=True) == sizes


@pytest.mark.parametrize(
    ("ranks", "micro_batches", "group", "rounds", "message"),
    [
        (4, 10, None, False, "10 micro-batches in groups of 4 leave 2"),
        (4, 9, 6, False, "9 micro-batches in groups of 6 leave 3"),
        (4, 8, 3, False, "groups of 3 micro-batches; accepted: from 4"),
        (4, 8, 9, False, "groups of 9 micro-batches; accepted: from 4 .ranks. to 8"),
        (4, 3, None, False, "groups of 4 micro-batches"),
        (4, 22, None, True, "22 micro-batches do not make 5 equal rounds"),
        (4, 8, 8, True, "either a group or rounds"),
    ],
)
def test_refusals(ranks: int, micro_batches: int, group: int | None, rounds: bool, message: str) -> None:
    for schedule in (interleaved_1f1b, interleaved_zb):
        with pytest.raises(PlannerError, match=message) as caught:
            schedule(ranks, 2, micro_batches, group=group, rounds=rounds)
        assert caught.value.field == "schedule"
