"""Collectives of gloo: rings, figures of each collective's own, and hops among ranks that share cores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.collectives import collective_cost
from planner.hardware.calibration import with_link
from planner.hardware.loader import load_cluster
from planner.hardware.types import Cluster
from planner.layouts.mesh import spread

TINY = 1024.0


def machine(devices: int, cores: int, figures: dict[str, float] | None = None) -> Cluster:
    described: dict[str, Any] = {
        "accelerator": "cpu",
        "nodes": 1,
        "devices_per_node": devices,
        "network": [{"name": "loopback", "kind": "loopback"}],
        "host": {"cores": cores},
    }
    cluster = load_cluster(described, calibrated=False)
    return replace(cluster, network=tuple(with_link(level, figures or {}) for level in cluster.network))


def seconds(cluster: Cluster, collective: Any, nbytes: float, ranks: int) -> float:
    groups = spread(np.array([ranks]), 1, cluster, devices=ranks)
    return float(collective_cost(collective, nbytes, groups, cluster).seconds[0])


def test_a_collective_uses_its_own_figures_and_no_other_s() -> None:
    plain = machine(2, 2)
    own = machine(2, 2, {"start_s.all_gather": 5e-3, "efficiency.all_gather": 0.01})
    large = 2.0**26
    assert seconds(own, "all_reduce", large, 2) == seconds(plain, "all_reduce", large, 2)
    # half of the buffer at a hundredth of 10 GB/s, and more for the start and the ramp
    assert seconds(own, "all_gather", large, 2) > 5e-3 + large / 2 / (0.01 * 10e9)
    assert own.network[0].of("all_gather").start_s == 5e-3
    assert own.network[0].of("send_recv") == own.network[0]


def test_ranks_that_share_cores_wait_for_their_turns() -> None:
    """A ring of four passes six hops of an all-reduce, each twice as long where two members share a core."""
    figures = {"start_s": 1e-9, "latency_s": 1e-3}
    apart, shared = machine(4, 4, figures), machine(4, 2, figures)
    for collective, hops in (("all_reduce", 6), ("all_gather", 3), ("all_to_all", 3)):
        assert seconds(apart, collective, TINY, 4) == pytest.approx(hops * 1e-3, rel=0.02), collective
        assert seconds(shared, collective, TINY, 4) == pytest.approx(2 * hops * 1e-3, rel=0.02), collective
    # a pair has a core each, whoever else is on the machine
    assert seconds(shared, "all_reduce", TINY, 2) == seconds(apart, "all_reduce", TINY, 2)


def test_gloo_has_rings_only() -> None:
    cluster = machine(8, 8)
    groups = spread(np.array([8]), 1, cluster, devices=8)
    cost = collective_cost("all_reduce", TINY, groups, cluster)
    ring = collective_cost("all_reduce", TINY, groups, cluster, algorithm="ring")
    assert cost.seconds[0] == ring.seconds[0]
