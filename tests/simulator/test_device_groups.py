"""Concrete groups: whole axes, shard groups, replicas of a shard."""

from __future__ import annotations

import numpy as np
import pytest

from planner.layouts.groups import GROUPED_AXES, rank_groups
from planner.layouts.layout import Layout
from planner.simulator.device_groups import device_groups

FOLDED = Layout(tp=2, ulysses=2, ring=3, pp=2, dp=4, ep=4, etp=1, axis_order=("cp", "tp", "ep", "pp", "dp"))


@pytest.mark.parametrize("axis", GROUPED_AXES)
def test_whole_axes_are_the_rank_groups(axis: str) -> None:
    assert device_groups(FOLDED, axis).tolist() == rank_groups(FOLDED, 96)[axis]


def test_shard_groups_are_consecutive_ranks_and_replicas_have_equal_places() -> None:
    """tp 2, dp 8: the data-parallel group of rank 0 is 0 2 4 ... 14; shards of 4 ranks, each held twice."""
    layout = Layout(tp=2, dp=8)
    shards = device_groups(layout, "dp_cp", size=4)
    assert shards.tolist() == [[0, 2, 4, 6], [8, 10, 12, 14], [1, 3, 5, 7], [9, 11, 13, 15]]
    replicas = device_groups(layout, "dp_cp", first=4)
    assert replicas.tolist() == [[0, 8], [2, 10], [4, 12], [6, 14], [1, 9], [3, 11], [5, 13], [7, 15]]


def test_wider_gathers_stay_inside_their_shard_group() -> None:
    """Parameters in shards of 2, optimizer state in shards of 4 of 8 ranks: equal places of neighbouring parameter shards."""
    assert device_groups(Layout(dp=8), "dp", first=2, size=2).tolist() == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_the_smaller_stride_varies_first_along_dp_and_cp() -> None:
    inside = Layout(ring=2, dp=3, axis_order=("tp", "cp", "ep", "dp", "pp"))
    outside = Layout(ring=2, dp=3, axis_order=("tp", "ep", "dp", "cp", "pp"))
    assert device_groups(inside, "dp_cp", size=2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert device_groups(outside, "dp_cp", size=3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert device_groups(outside, "cp").tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(("first", "size"), [(1, 2), (2, 4), (3, 8), (12, 2)])
def test_parts_of_a_group_tile_the_devices(first: int, size: int) -> None:
    groups = device_groups(FOLDED, "dp_cp", first=first, size=size)
    assert groups.shape == (96 // size, size)
    assert np.array_equal(np.sort(groups.ravel()), np.arange(96))


@pytest.mark.parametrize(("first", "size"), [(1, 3), (3, 4), (1, 0), (0, 4), (1, 16)])
def test_parts_that_do_not_tile_are_refused(first: int, size: int) -> None:
    with pytest.raises(ValueError, match="do not tile dp groups of 8"):
        device_groups(Layout(dp=8), "dp", first=first, size=size)
