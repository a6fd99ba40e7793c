"""Parts of clusters: closed forms by hand, then properties."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.hardware.loader import list_clusters, load_cluster
from planner.hardware.slicing import use_devices

# cluster, devices, nodes, devices per node, sizes of the levels that are left
PARTS = [
    ("h100-superpod", 1, 1, 1, [1]),
    ("h100-superpod", 3, 1, 3, [3]),
    ("h100-superpod", 8, 1, 8, [8]),
    ("h100-superpod", 64, 8, 8, [8, 64]),
    ("frontier", 2, 1, 2, [2]),
    ("frontier", 4, 1, 4, [2, 4]),
    ("frontier", 384, 48, 8, [2, 8, 384]),
    ("gb200-nvl72", 72, 18, 4, [72]),
    ("gb200-nvl72", 128, 32, 4, [64, 128]),
    ("gb200-nvl72", 144, 36, 4, [72, 144]),
    ("cloudmatrix-384", 768, 48, 16, [2, 768]),
    ("v100-dgx2", 4, 1, 4, [4]),
]


@pytest.mark.parametrize(("name", "devices", "nodes", "per_node", "sizes"), PARTS)
def test_parts(name: str, devices: int, nodes: int, per_node: int, sizes: list[int]) -> None:
    part = use_devices(load_cluster(name), devices)
    assert (part.devices, part.nodes, part.devices_per_node) == (devices, nodes, per_node)
    assert [level.size for level in part.network] == sizes


# TPU slices are boxes; optical switches close boxes of whole 4 x 4 x 4 cubes (arXiv 2304.01433), v5e only full axes.
TORI = [
    ("tpu-v4-pod", 4, (1, 2, 2), False),
    ("tpu-v4-pod", 64, (4, 4, 4), True),
    ("tpu-v4-pod", 512, (8, 8, 8), True),
    ("tpu-v4-pod", 1536, (8, 12, 16), True),
    ("tpu-v4-pod", 4096, (16, 16, 16), True),
    ("tpu-v5e-pod", 16, (4, 4), False),
    ("tpu-v5e-pod", 256, (16, 16), True),
]


@pytest.mark.parametrize(("name", "devices", "shape", "wrap"), TORI)
def test_parts_of_a_torus(name: str, devices: int, shape: tuple[int, ...], wrap: bool) -> None:
    level = use_devices(load_cluster(name), devices).network[0]
    assert (level.shape, level.wrap) == (shape, wrap)


def test_a_shared_host_link_is_shared_by_no_more_than_the_part() -> None:
    assert use_devices(load_cluster("a100-superpod"), 1).host.shared_by == 1
    assert use_devices(load_cluster("a100-superpod"), 16).host.shared_by == 2


REFUSED = [
    ("h100-superpod", 0, "has 16,384 devices"),
    ("h100-superpod", -8, "has 16,384 devices"),
    ("h100-superpod", 10**12, "has 16,384 devices"),
    ("h100-superpod", 12, "the nearest accepted: 8 or 16"),
    ("gb200-nvl72", 76, "the nearest accepted: 72 or 80"),
    ("tpu-v4-pod", 4 * 131, "no 3-dimensional part of the 16 x 16 x 16 torus"),
]


@pytest.mark.parametrize(("name", "devices", "reason"), REFUSED)
def test_refused_parts(name: str, devices: int, reason: str) -> None:
    with pytest.raises(PlannerError, match=reason) as caught:
        use_devices(load_cluster(name), devices, field="devices")
    assert caught.value.field == "devices"


def test_groups_have_no_part() -> None:
    cluster = load_cluster("h100-superpod")
    with pytest.raises(PlannerError, match="groups"):
        use_devices(replace(cluster, groups=(cluster, cluster)), 8)


@settings(max_examples=150)
@given(st.sampled_from(list_clusters()), st.integers(1, 2048))
def test_a_part_is_a_cluster(name: str, devices: int) -> None:
    cluster = load_cluster(name)
    try:
        part = use_devices(cluster, devices)
    except PlannerError:
        return
    assert part.devices == devices == part.network[-1].size
    for inner, outer in zip(part.network, part.network[1:], strict=False):
        assert outer.size % inner.size == 0
        assert outer.size > inner.size
    by_name = {level.name: level for level in cluster.network}
    for level in part.network:
        whole = by_name[level.name]
        assert level.size <= whole.size
        assert (level.bandwidth, level.latency_s) == (whole.bandwidth, whole.latency_s)
        if level.shape is not None and whole.shape is not None:
            assert math.prod(level.shape) == level.size
            assert all(part <= full for part, full in zip(level.shape, whole.shape, strict=True))
    assert use_devices(part, devices) is part
