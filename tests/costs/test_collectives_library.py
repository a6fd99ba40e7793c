"""What the devices' library chooses among, links that a domain shares, messages that are posted together, large switches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.collectives import (
    DEVICE_INITIATED,
    Algorithm,
    Collective,
    CollectiveConstants,
    collective_cost,
)
from planner.hardware.types import Accelerator, Cluster, KernelConstants, NetworkLevel
from planner.layouts.mesh import spread

MIB, GIB = 2**20, 2**30
PLAIN = CollectiveConstants(base_s=0.0, pipelining=0.0)
"""Alpha-beta only, so that closed forms hold to the digit."""


def cluster(*levels: NetworkLevel, per_node: int | None = None, vendor: str = "nvidia") -> Cluster:
    device = Accelerator("d", vendor, "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}))
    node = per_node or levels[0].size
    return Cluster("c", device, levels[-1].size // node, node, levels)


def level(size: int, bandwidth: float, latency_s: float = 1e-6, **options: Any) -> NetworkLevel:
    return NetworkLevel(f"l{size}", size, bandwidth, latency_s, **{"efficiency": 1.0, **options})


def seconds(network: Cluster, collective: Collective, nbytes: float, ranks: int, **options: Any) -> float:
    groups = spread(ranks, 1, network, devices=ranks)
    return float(collective_cost(collective, nbytes, groups, network, **options).seconds[0])


PCIE = level(4, 25e9, 0.0, fabric="ring", kind="pcie4", per_flow_bandwidth=25e9)
PAIRS = cluster(level(2, 300e9, 0.0), PCIE, per_node=4)
"""Two NVLink pairs of one node that meet over PCI Express."""


def test_pairs_share_one_pcie_link() -> None:
    """2 (n-1)/n S over one link, whatever the members of a pair; an all-to-all sends half of two buffers over it."""
    assert seconds(PAIRS, "all_reduce", GIB, 4, constants=PLAIN) == pytest.approx(1.5 * GIB / 25e9)
    assert seconds(PAIRS, "all_gather", GIB, 4, constants=PLAIN) == pytest.approx(0.75 * GIB / 25e9)
    assert seconds(PAIRS, "all_to_all", GIB, 4, constants=PLAIN) == pytest.approx(2 * 0.5 * GIB / 25e9)
    assert seconds(PAIRS, "all_reduce", GIB, 2, constants=PLAIN) == pytest.approx(GIB / 300e9)


def test_boards_without_nvlink_have_a_link_each() -> None:
    """All boards below one root: the ring of 8 passes each board's own link."""
    boards = cluster(dataclasses.replace(PCIE, size=8, wrap=False))
    assert seconds(boards, "all_gather", GIB, 8, constants=PLAIN) == pytest.approx(7 / 8 * GIB / 25e9)


@given(st.sampled_from(["all_reduce", "all_gather", "reduce_scatter"]), st.floats(1e3, 1e10))
def test_nccl_and_rccl_never_work_level_by_level(collective: Collective, nbytes: float) -> None:
    """The algorithms of NVIDIA/nccl src/graph/tuning.cc; HCCL and XLA do, MPI over Ethernet too, and frameworks that ask."""
    outer = level(512, 25e9, 5e-6)
    groups = spread(512, 1, cluster(level(8, 200e9), outer), devices=512)
    chosen = {}
    for vendor, kind in (
        ("nvidia", "infiniband"),
        ("amd", "roce"),
        ("huawei", "roce"),
        ("nvidia", "ethernet"),
    ):
        network = cluster(level(8, 200e9), dataclasses.replace(outer, kind=kind), vendor=vendor)
        cost = collective_cost(collective, nbytes, groups, network)
        named = collective_cost(collective, nbytes, groups, network, algorithm="hierarchical")
        assert named.algorithm[0] == Algorithm.HIERARCHICAL
        assert cost.seconds[0] <= named.seconds[0] * (1 + 1e-9) or (vendor, kind) in (
            ("nvidia", "infiniband"),
            ("amd", "roce"),
        )
        chosen[vendor, kind] = Algorithm(int(cost.algorithm[0]))
    assert Algorithm.HIERARCHICAL not in (chosen["nvidia", "infiniband"], chosen["amd", "roce"])


def test_a_small_gather_works_level_by_level_where_the_library_can() -> None:
    levels = level(8, 200e9), level(512, 25e9, 5e-6)
    groups = spread(512, 1, cluster(*levels), devices=512)
    for vendor, algorithm in (("nvidia", Algorithm.RING), ("huawei", Algorithm.HIERARCHICAL)):
        cost = collective_cost("all_gather", MIB, groups, cluster(*levels, vendor=vendor))
        assert cost.algorithm[0] == algorithm


CARDS = cluster(level(256, 50e9, 4e-6, efficiency=0.92), per_node=1)


def test_messages_are_posted_together() -> None:
    """One latency and a gap per further message."""
    expected = 255 / 256 * GIB / 46e9 + 4e-6 + 254 * PLAIN.message_gap_s
    assert seconds(CARDS, "all_to_all", GIB, 256, constants=PLAIN) == pytest.approx(expected)


def test_a_gap_is_never_longer_than_the_latency() -> None:
    quick = cluster(level(256, 50e9, 1e-7), per_node=1)
    expected = 255 / 256 * MIB / 50e9 + 255e-7
    assert seconds(quick, "all_to_all", MIB, 256, constants=PLAIN) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("nbytes", "published"),
    [
        (7_340_032, {8: 163, 16: 173, 32: 182, 64: 186, 128: 192, 256: 194}),
        (14_680_064, {8: 318, 16: 329, 32: 350, 64: 353, 128: 369, 256: 360}),
    ],
)
def test_kernels_that_post_their_messages_themselves(nbytes: float, published: dict[int, float]) -> None:
    """DeepEP's low-latency dispatch and combine in microseconds, H800, one 400 Gb/s card each (deepseek-ai/DeepEP README)."""
    groups = spread(list(published), 1, CARDS, devices=256)
    posted, grouped = (
        collective_cost("all_to_all", nbytes, groups, CARDS, constants=constants).seconds * 1e6
        for constants in (DEVICE_INITIATED, None)
    )
    assert posted == pytest.approx(list(published.values()), rel=0.10)
    assert grouped[-1] > posted[-1] * 1.5


def test_a_chunk_fills_more_of_a_switch_with_more_members() -> None:
    """72 GB200 of one rack, in-switch all-reduce in microseconds from 0.5 to 8 GiB (coreweave/nccl-tests README)."""
    published = {512: 1806.7, 1024: 3108.8, 2048: 5589.1, 4096: 10094, 8192: 20299}
    switch = level(72, 900e9, 0.94e-6, efficiency=0.76, in_network_reduction=True, in_network_efficiency=0.52)
    rack = cluster(switch, per_node=4)
    groups = spread(np.full(len(published), 72), 1, rack, devices=72)
    found = collective_cost("all_reduce", np.array(list(published)) * MIB, groups, rack).seconds * 1e6
    assert found == pytest.approx(list(published.values()), rel=0.15)
