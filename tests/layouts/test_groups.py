"""Rank groups of both meshes."""

from __future__ import annotations

from itertools import chain, permutations

import numpy as np
import pytest

from planner.layouts.groups import rank_groups
from planner.layouts.layout import DEFAULT_AXIS_ORDER, Layout
from planner.layouts.mesh import mesh_strides


def test_megatron_numbering() -> None:
    """Megatron-LM's order tp-cp-ep-dp-pp with 16 ranks, tp 2, pp 4 (the example in its parallel_state docstring)."""
    groups = rank_groups(Layout(tp=2, pp=4, dp=2), 16)
    assert groups["tp"] == [[2 * i, 2 * i + 1] for i in range(8)]
    assert groups["pp"] == [[i, i + 4, i + 8, i + 12] for i in range(4)]
    assert groups["dp"] == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]]


def test_folded_experts_fill_a_stage() -> None:
    """tp 4, cp 2, dp 8, pp 4 with ep 64: one expert group per pipeline stage (MoE Parallel Folding)."""
    layout = Layout(tp=4, ring=2, dp=8, pp=4, ep=64)
    groups = rank_groups(layout, 256)
    assert layout.edp == 1
    assert groups["ep"] == [list(range(64 * stage, 64 * stage + 64)) for stage in range(4)]
    assert all(len(group) == 1 for group in groups["edp"])


def test_ulysses_lies_inside_ring() -> None:
    groups = rank_groups(Layout(tp=2, ulysses=2, ring=2), 8)
    assert groups["cp"] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    assert groups["ulysses"] == [[0, 2], [4, 6], [1, 3], [5, 7]]
    assert groups["ring"] == [[0, 4], [2, 6], [1, 5], [3, 7]]


def test_dense_states_are_shared_by_dp_and_cp() -> None:
    groups = rank_groups(Layout(tp=2, ring=2, dp=2), 8)
    assert groups["dp_cp"] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize("order", list(permutations(DEFAULT_AXIS_ORDER))[::7])
def test_groups_partition_the_ranks_along_the_strides(order: tuple[str, ...]) -> None:
    layout = Layout(tp=2, ulysses=3, ring=2, dp=5, pp=2, ep=6, etp=2, axis_order=order)
    groups = rank_groups(layout, 120)
    names = ("tp", "ulysses", "ring", "dp", "pp", "ep", "etp")
    strides = mesh_strides(order, {name: np.array([getattr(layout, name)]) for name in names})
    for axis, members in groups.items():
        assert sorted(chain.from_iterable(members)) == list(range(120))
        if axis in strides and len(members[0]) > 1:
            steps = np.diff(np.array(members), axis=1)
            assert (steps == strides[axis][0]).all(), axis


def test_too_few_devices() -> None:
    with pytest.raises(ValueError, match="needs 16 ranks"):
        rank_groups(Layout(tp=16), 8)
