"""Groups of one rank: the axes of the layout's meshes, shard groups, copies of KV heads, ends of the pipeline."""

from __future__ import annotations

import pytest

from planner.layouts.groups import GROUPED_AXES, rank_groups
from planner.layouts.layout import Layout, Shard
from planner.validation.trainer.groups import REPORTED_AXIS, members, single_process

FOLDED = Layout(tp=2, ulysses=2, dp=2, pp=2, ep=4, etp=1)


@pytest.mark.parametrize("rank", [0, 3, 9, 15])
def test_axes_are_those_of_the_layouts_meshes(rank: int) -> None:
    mine = members(FOLDED, rank)
    groups = rank_groups(FOLDED, 16)
    for axis in GROUPED_AXES:
        group = next(g for g in groups[axis] if rank in g)
        assert list(mine[axis].ranks) == group
        assert group[mine[axis].index] == rank


def test_shard_groups_are_consecutive_replicas() -> None:
    """A shard group of size n is the first n ranks of dp x cp by axis order (docs/layouts.md)."""
    layout = Layout(tp=2, dp=4, shard=Shard(2, 2, 2))
    assert members(layout, 5)["shard"].ranks == (5, 7)
    assert members(layout, 5)["replicate"].ranks == (1, 5)


def test_ranks_with_the_same_kv_head() -> None:
    """tp 4 over 2 KV heads: ranks 0 and 1 hold the first, 2 and 3 the second."""
    mine = members(Layout(tp=4), 3, kv_heads=2)
    assert mine["kv_replicas"].ranks == (2, 3)
    assert (mine["kv"].size, mine["kv"].index) == (2, 1)


def test_ends_of_a_pipeline() -> None:
    layout = Layout(pp=4, dp=2)
    assert members(layout, 1)["ends"].ranks == (1, 7)
    assert members(layout, 3)["ends"].size == 1


def test_one_process_is_alone_on_every_axis() -> None:
    alone = single_process()
    assert {alone.size(axis) for axis in REPORTED_AXIS} == {1}
    assert alone.group("tp") is None
    assert alone.axis_of("anything") == "world"
