"""Start, ramp and protocol of small messages: three figures per collective and level, by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from planner.costs.collectives import Collective, CollectiveConstants, collective_cost
from planner.hardware.types import Accelerator, Cluster, KernelConstants, NetworkLevel
from planner.layouts.mesh import spread

MIB, GIB = 2**20, 2**30
DEVICE = Accelerator("d", "nvidia", "a", {"bf16": 1e15}, 80e9, 3e12, KernelConstants({"bf16": 0.8}))


def nodes(**options: Any) -> Cluster:
    """Eight devices of 200 GB/s per node, eight nodes, a card of 25 GB/s per device."""
    inside = NetworkLevel("inside", 8, 200e9, 1e-6, efficiency=1.0)
    outside = NetworkLevel("outside", 64, 25e9, 5e-6, fabric="fat_tree", efficiency=1.0)
    return Cluster("c", DEVICE, 8, 8, (dataclasses.replace(inside, **options), outside))


def seconds(
    network: Cluster, collective: Collective, nbytes: float, size: int, algorithm: str = "ring"
) -> float:
    name = "direct" if collective == "send_recv" else algorithm
    return float(
        collective_cost(collective, nbytes, spread(size, 1, network), network, algorithm=name).seconds[0]
    )


def test_a_small_message_fills_nothing_at_part_of_the_rate() -> None:
    """7 us, 14 hops of 1 us, 1.75 x 64 KiB at 0.38 of 200 GB/s; chunked it would take 2 sqrt(8 us x T) more than at the rate."""
    transfer = 1.75 * 65536 / 200e9
    assert seconds(nodes(), "all_reduce", 65536, 8) == pytest.approx(7e-6 + 14e-6 + transfer / 0.38)
    assert transfer / 0.38 < transfer + 2 * math.sqrt(8e-6 * transfer)


def test_a_large_message_is_chunked_at_the_full_rate() -> None:
    transfer = 1.75 * GIB / 200e9
    expected = 7e-6 + 14e-6 + transfer + 2 * math.sqrt(8e-6 * transfer)
    assert seconds(nodes(), "all_reduce", GIB, 8) == pytest.approx(expected)


@pytest.mark.parametrize("nbytes", [256, 64 * 1024, 4 * MIB, GIB])
def test_a_ring_all_reduce_is_two_halves_whatever_the_protocol(nbytes: float) -> None:
    parts = sum(seconds(nodes(start_s=0.0), name, nbytes, 8) for name in ("reduce_scatter", "all_gather"))
    assert seconds(nodes(start_s=0.0), "all_reduce", nbytes, 8) == pytest.approx(parts)


def test_the_ramp_weighs_the_square_root() -> None:
    plain = seconds(nodes(ramp=0.0), "all_reduce", GIB, 8)
    once, twice = (seconds(nodes(ramp=weight), "all_reduce", GIB, 8) - plain for weight in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)
    assert once == pytest.approx(2 * math.sqrt(8e-6 * 1.75 * GIB / 200e9))


def test_switches_that_add_have_a_ramp_of_their_own() -> None:
    def added(**options: Any) -> float:
        network = nodes(in_network_reduction=True, in_network_efficiency=0.5, **options)
        return seconds(network, "all_reduce", GIB, 8, "in_network")

    assert added(ramp=3.0) == added()
    # four hops of 1 us fill, the buffer passes once at half of the wire
    assert added(in_network_ramp=2.0) - added() == pytest.approx(2 * math.sqrt(4e-6 * GIB / 100e9))


def test_a_call_starts_once_on_all_its_levels() -> None:
    slow = nodes(start_s=30e-6)
    assert seconds(slow, "all_gather", MIB, 8) - seconds(nodes(), "all_gather", MIB, 8) == pytest.approx(
        23e-6
    )
    assert seconds(slow, "all_gather", MIB, 64) - seconds(nodes(), "all_gather", MIB, 64) == pytest.approx(
        23e-6
    )
    far = dataclasses.replace(slow.network[1], start_s=50e-6)
    both = dataclasses.replace(slow, network=(slow.network[0], far))
    assert seconds(both, "all_gather", MIB, 64) - seconds(slow, "all_gather", MIB, 64) == pytest.approx(20e-6)


def test_a_message_has_a_start_of_its_own() -> None:
    own = nodes(start_s=30e-6, message_start_s=9e-6)
    assert seconds(own, "send_recv", MIB, 2) == pytest.approx(9e-6 + 1e-6 + MIB / 200e9)
    assert seconds(nodes(), "send_recv", MIB, 2) == pytest.approx(
        CollectiveConstants().base_s + 1e-6 + MIB / 200e9
    )
