"""Mesh axes: groups, spread over the levels, strides of the two meshes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.hardware.types import Accelerator, Cluster, KernelConstants, NetworkLevel
from planner.layouts.mesh import axis_groups, level_of, mesh_strides, meshes_agree, spread


def cluster(*sizes: int) -> Cluster:
    device = Accelerator("d", "v", "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}))
    levels = tuple(NetworkLevel(f"l{size}", size, 1e9, 1e-6) for size in sizes)
    return Cluster("c", device, sizes[-1] // sizes[0], sizes[0], levels)


def brute_force(size: int, stride: int, cluster: Cluster) -> list[int]:
    groups = axis_groups(size, stride, cluster.devices)
    return [max(len({rank // level.size for rank in group}) for group in groups) for level in cluster.network]


def test_axis_groups_of_a_small_mesh() -> None:
    assert axis_groups(2, 1, 4) == [[0, 1], [2, 3]]
    assert axis_groups(2, 2, 8) == [[0, 2], [1, 3], [4, 6], [5, 7]]


def test_axis_groups_cover_every_rank_once() -> None:
    groups = axis_groups(3, 4, 36)
    assert sorted(rank for group in groups for rank in group) == list(range(36))


def test_groups_that_do_not_tile_are_refused() -> None:
    with pytest.raises(PlannerError, match="do not tile 8 devices"):
        axis_groups(3, 1, 8)


@pytest.mark.parametrize(
    ("size", "stride", "expected"),
    [
        (8, 1, [8, 1]),  # one node
        (16, 1, [8, 2]),
        (8, 8, [1, 8]),  # one rank per node
        (4, 4, [2, 2]),
        (4, 3, [2, 2]),  # ranks 6 9 12 15: nodes 0 1 1 1
        (5, 3, [5 / 3, 3]),  # ranks 15 18 21 24 27: nodes 1 2 2 3 3, mean 5/3
    ],
)
def test_ranks_per_level_on_nodes_of_eight(size: int, stride: int, expected: list[float]) -> None:
    result = spread(size, stride, cluster(8, 240)).ranks_per_level[0]
    assert result == pytest.approx(expected)


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, Cluster]:
    node = draw(st.integers(1, 12))
    leaf = node * draw(st.integers(1, 6))
    devices = leaf * draw(st.integers(1, 8))
    size = draw(st.sampled_from([n for n in range(1, devices + 1) if devices % n == 0]))
    stride = draw(st.sampled_from([n for n in range(1, devices // size + 1) if devices // size % n == 0]))
    return size, stride, cluster(node, leaf, devices)


@given(axes())
def test_spread_equals_brute_force(axis: tuple[int, int, Cluster]) -> None:
    size, stride, network = axis
    result = spread(size, stride, network)
    assert result.domains[0].tolist() == brute_force(size, stride, network)
    assert math.prod(result.ranks_per_level[0]) == pytest.approx(size)
    assert (result.ranks_per_level >= 1 - 1e-12).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9), st.integers(1, 60))
def test_ragged_devices_equal_brute_force(size: int, stride: int, domain: int, extra: int) -> None:
    devices = size * stride + extra
    block = size * stride
    starts = [first + offset for first in range(0, devices - block + 1, block) for offset in range(stride)]
    touched = max(len({(start + k * stride) // domain for k in range(size)}) for start in starts)
    network = cluster(domain, -(-devices // domain) * domain)
    expected = 1 if domain >= devices else touched
    assert spread(size, stride, network, devices=devices).domains[0, 0] == expected


def test_a_batch_equals_its_rows() -> None:
    network = cluster(8, 64, 512)
    size, stride = np.array([8, 64, 4, 16, 8]), np.array([1, 8, 2, 4, 1])
    batch = spread(size, stride, network).ranks_per_level
    rows = [spread(s, t, network).ranks_per_level[0] for s, t in zip(size, stride, strict=True)]
    assert np.array_equal(batch, np.stack(rows))


def test_one_group_alone_starts_at_rank_zero() -> None:
    assert spread(6, 1, cluster(8, 96)).domains[0, 0] == 2
    assert spread(6, 1, cluster(8, 96), devices=6).domains[0, 0] == 1


def test_level_of_is_the_innermost_level_that_holds_the_group() -> None:
    assert level_of([1, 8, 16, 8], [1, 1, 1, 64], cluster(8, 64, 512)).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("size", "stride"), [(0, 1), (1, 0), (64, 2)])
def test_axes_that_do_not_fit_are_refused(size: int, stride: int) -> None:
    with pytest.raises(PlannerError, match="does not fit on 64 devices"):
        spread(size, stride, cluster(8, 64))


def test_default_order_nests_both_meshes_on_the_same_ranks() -> None:
    strides = mesh_strides(
        ("tp", "cp", "ep", "dp", "pp"),
        {"tp": 4, "cp": 2, "ulysses": 2, "dp": 8, "pp": 4, "etp": 1, "ep": 64, "edp": 1},
    )
    found = {axis: int(value[0]) for axis, value in strides.items()}
    attention = {"tp": 1, "cp": 4, "ulysses": 4, "ring": 8, "dp": 8, "pp": 64}
    assert found == {**attention, "etp": 1, "ep": 1, "edp": 64}


def test_ulysses_lies_inside_the_ring() -> None:
    strides = mesh_strides(
        ("tp", "cp", "dp", "pp"), {"tp": [2, 1], "ulysses": 4, "ring": 2, "dp": 2, "pp": 1}
    )
    assert strides["ulysses"].tolist() == [2, 1]
    assert strides["ring"].tolist() == [8, 4]
    assert strides["dp"].tolist() == [16, 8]


def test_folding_allows_experts_over_the_whole_stage_only_when_stages_agree() -> None:
    degrees = {"tp": 4, "cp": 2, "dp": 8, "pp": 4, "etp": 1, "ep": [64, 8, 3], "edp": [1, 8, 21]}
    assert meshes_agree(("tp", "cp", "ep", "dp", "pp"), degrees).tolist() == [True, True, False]
    assert meshes_agree(("tp", "cp", "ep", "pp", "dp"), degrees).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (("tp", "cp", "dq", "pp"), "unknown mesh axis 'dq'"),
        (("tp", "dp", "pp"), "stand once"),
        (("tp", "tp", "cp", "dp", "pp"), "stand once"),
    ],
)
def test_faulty_orders_are_refused(order: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        mesh_strides(order, {"tp": 1, "cp": 1, "dp": 1, "pp": 1})
