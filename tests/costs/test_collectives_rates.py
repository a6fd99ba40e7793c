"""Traffic against time: no collective moves bytes faster than the ports of its devices, and each byte passes the card once."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.collectives import COLLECTIVES, Collective, achieved_rate, algorithms, collective_cost
from planner.costs.collectives.constants import CollectiveConstants
from planner.errors import PlannerError
from planner.hardware.loader import list_clusters, load_cluster
from planner.hardware.types import Accelerator, Cluster, Fabric, KernelConstants, NetworkLevel
from planner.layouts.mesh import Spread, spread

PRIORS = CollectiveConstants()
DEVICE = Accelerator("d", "v", "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}))


def in_use(collective: Collective, nbytes: float, groups: Spread, cluster: Cluster, algorithm: str) -> float:
    """The highest rate at any level over what a device achieves there."""
    cost = collective_cost(collective, nbytes, groups, cluster, algorithm=algorithm)
    achieved = np.array([achieved_rate(level, PRIORS) for level in cluster.network])
    moving = (cost.seconds - cost.latency_s)[:, None] * achieved
    return float(np.divide(cost.bytes_per_level, moving, where=moving > 0, out=np.zeros_like(moving)).max())


def some_groups(cluster: Cluster, count: int) -> Spread:
    random = np.random.default_rng(7)
    sizes = random.integers(2, min(cluster.devices, 4096) + 1, count)
    strides = [int(random.integers(1, cluster.devices // size + 1)) for size in sizes]
    powers = [2**exponent for exponent in range(1, 13) if 2**exponent <= cluster.devices]
    return spread(
        [*sizes, *powers, *powers],
        [*strides, *(cluster.devices // n for n in powers), *(1 for _ in powers)],
        cluster,
    )


@pytest.mark.parametrize("name", list_clusters())
def test_no_collective_of_the_catalogue_exceeds_the_ports(name: str) -> None:
    cluster = load_cluster(name)
    groups = some_groups(cluster, 60)
    for collective in COLLECTIVES:
        for nbytes in (1e3, 1e5, 1e7, 1e10):
            assert in_use(collective, nbytes, groups, cluster, "auto") <= 1 + 1e-9, (collective, nbytes)


@st.composite
def three_levels(draw: st.DrawFn) -> Cluster:
    sizes = np.cumprod([draw(st.sampled_from([2, 3, 4, 8])) for _ in range(3)])
    fabrics: list[list[Fabric]] = [
        ["switch", "full_mesh", "ring"],
        ["rail", "fat_tree", "dragonfly"],
        ["fat_tree", "dragonfly", "switch"],
    ]
    levels = tuple(
        NetworkLevel(
            name=f"l{index}",
            size=int(sizes[index]),
            bandwidth=draw(st.sampled_from([12.5e9, 50e9, 400e9])),
            latency_s=draw(st.sampled_from([1e-6, 1e-5])),
            fabric=draw(st.sampled_from(fabrics[index])),
            in_network_reduction=draw(st.booleans()),
            oversubscription=draw(st.sampled_from([1.0, 2.0])),
            efficiency=draw(st.sampled_from([0.7, 0.9])),
        )
        for index in range(3)
    )
    return Cluster("c", DEVICE, int(sizes[2] // sizes[0]), int(sizes[0]), levels)


@settings(max_examples=40)
@given(three_levels(), st.sampled_from(COLLECTIVES), st.sampled_from([1e3, 1e6, 1e9]), st.data())
def test_no_algorithm_exceeds_the_ports(
    cluster: Cluster, collective: Collective, nbytes: float, data: st.DataObject
) -> None:
    size = data.draw(st.sampled_from([n for n in range(2, cluster.devices + 1) if cluster.devices % n == 0]))
    rest = cluster.devices // size
    stride = data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
    groups = spread(size, stride, cluster)
    used: dict[str, float] = {}
    for algorithm in algorithms(collective):
        with contextlib.suppress(PlannerError):  # not every algorithm can run on every network
            used[algorithm] = in_use(collective, nbytes, groups, cluster, algorithm)
    assert used
    assert max(used.values()) <= 1 + 1e-9, used


def leaf_and_spine(**options: Any) -> Cluster:
    """One device per node, two nodes per leaf, two leaves: 4 devices at 1 GB/s."""
    leaf = NetworkLevel("leaf", 2, 1e9, 0.0, fabric="fat_tree", efficiency=1.0, **options)
    return Cluster("c", DEVICE, 4, 1, (leaf, replace(leaf, name="spine", size=4)))


def test_trees_over_leaves_and_spine_are_the_trees_of_all_nodes() -> None:
    """Sanders, Speck and Traff: of more than two nodes each sends the buffer twice, wherever its partners are."""
    cluster = leaf_and_spine()
    cost = collective_cost("all_reduce", 1e9, spread(4, 1, cluster), cluster, algorithm="tree")
    assert cost.bytes_per_level[0].tolist() == pytest.approx([2e9, 0.5e9])
    assert cost.seconds[0] - cost.latency_s[0] == pytest.approx(2 / 0.92)


def test_switches_that_add_receive_the_buffer_once() -> None:
    """The spine adds what the leaves have added: nothing passes a device's card for it a second time."""
    cluster = leaf_and_spine(in_network_reduction=True)
    cost = collective_cost("all_reduce", 1e9, spread(4, 1, cluster), cluster, algorithm="in_network")
    assert cost.bytes_per_level[0].tolist() == pytest.approx([1e9, 0.5e9])
    assert cost.seconds[0] - cost.latency_s[0] == pytest.approx(1 / PRIORS.in_network_efficiency)


def test_an_outer_level_is_reached_through_the_inner_one() -> None:
    """A spine of twice the rate behind a leaf of 1 GB/s passes no more than the leaf."""
    slow = leaf_and_spine()
    fast = replace(slow, network=(slow.network[0], replace(slow.network[1], bandwidth=2e9)))
    cost = collective_cost("send_recv", 1e9, spread(2, 2, fast), fast)
    assert cost.seconds[0] - cost.latency_s[0] == pytest.approx(1.0)
