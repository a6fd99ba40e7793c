"""Ports and routes: capacities by hand, an idle network as fast as the closed form, slow ports, the host's link."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from planner.costs.collectives import COLLECTIVES, collective_cost
from planner.errors import PlannerError
from planner.hardware.loader import list_clusters, load_cluster, use_devices
from planner.hardware.types import Cluster
from planner.layouts.layout import Layout
from planner.layouts.mesh import spread
from planner.simulator.actors import partition
from planner.simulator.engine.shared import run_shared
from planner.simulator.links import (
    IN,
    OUT,
    NetworkLinks,
    collective_route,
    host_route,
    message_route,
    network_links,
)
from planner.simulator.program import Program, ProgramBuilder, TaskKind

H100 = use_devices(load_cluster("h100-superpod", calibrated=False), 32)
NVLINK, INFINIBAND, HOST = 0, 1, 2


def links_of(cluster: Cluster, factors: NDArray[np.float64] | None = None) -> NetworkLinks:
    """Every device's own links."""
    actors = partition(Layout(dp=cluster.devices), cluster.devices, merge="none")
    return network_links(cluster, actors, factors)


def loads(program: Program, route: int) -> dict[int, float]:
    rows = slice(program.routes.start[route], program.routes.start[route + 1])
    return dict(zip(program.routes.link[rows].tolist(), program.routes.nbytes[rows].tolist(), strict=True))


def members(program: Program, route: int) -> list[int]:
    rows = slice(program.routes.member_start[route], program.routes.member_start[route + 1])
    return program.routes.member[rows].tolist()


def test_capacities_of_an_h100() -> None:
    """Per direction: NVLink 450 GB/s at 0.82, InfiniBand 50 GB/s at 0.92, PCIe gen5 63 GB/s of its own."""
    links = links_of(H100).links
    assert len(links) == 32 * 3 * 2
    assert links.capacity[:6].tolist() == pytest.approx([369e9, 369e9, 46e9, 46e9, 63e9, 63e9])
    assert links.actor[[0, 5, 6]].tolist() == [0, 0, 1]
    assert links.level[:6].tolist() == [0, 0, 1, 1, 2, 2]
    assert links.outgoing[:6].tolist() == [True, False] * 3


def test_dragonfly_oversubscription_and_shared_host_links() -> None:
    """Frontier: 12.5 GB/s at 0.85, of which minimal routes keep 0.75. A100 nodes: two devices share a 31 GB/s host link."""
    frontier = links_of(use_devices(load_cluster("frontier", calibrated=False), 16))
    assert frontier.links.capacity[frontier.link(3, 2, OUT)] == pytest.approx(12.5e9 * 0.85 * 0.75)
    a100 = links_of(use_devices(load_cluster("a100-superpod"), 8))
    assert a100.links.capacity[a100.link(3, HOST - 1, IN)] == pytest.approx(15.5e9)


def test_slow_ports_belong_to_their_device() -> None:
    factors = np.ones((32, 3))
    factors[9] = [1.0, 0.5, 0.25]
    network = links_of(H100, factors)
    slow = [network.links.capacity[network.link(9, level, OUT)] for level in range(3)]
    assert slow == pytest.approx([369e9, 23e9, 15.75e9])
    assert network.links.capacity[network.link(8, INFINIBAND, IN)] == pytest.approx(46e9)


def test_a_class_of_devices_has_the_ports_of_its_representative() -> None:
    factors = np.ones((32, 3))
    factors[:, INFINIBAND] = 0.5
    actors = partition(Layout(tp=8, pp=4), 32, link_factors=factors)
    network = network_links(H100, actors, factors)
    assert len(network.links) == 4 * 3 * 2
    assert network.links.capacity[network.link(3, INFINIBAND, OUT)] == pytest.approx(23e9)


def test_routes_by_hand() -> None:
    network, builder = links_of(H100), ProgramBuilder()
    ring = collective_route(network, builder, (2, 5), (10.0, 0.0))
    hop = message_route(network, builder, 2, 13, (0.0, 7.0))
    again = message_route(network, builder, 2, 13, (0.0, 7.0))
    out = host_route(network, builder, 4, 3.0, outgoing=True)
    back = host_route(network, builder, 4, 3.0, outgoing=False)
    program = builder.build(network.links, 32)
    assert loads(program, ring) == {12: 10.0, 13: 10.0, 30: 10.0, 31: 10.0}
    assert members(program, ring) == [2, 5]
    assert loads(program, hop) == {2 * 6 + 2: 7.0, 13 * 6 + 3: 7.0}
    assert members(program, hop) == [2, 13]
    assert again == hop
    assert loads(program, out) == {4 * 6 + 4: 3.0}
    assert loads(program, back) == {4 * 6 + 5: 3.0}


def test_a_host_that_nobody_described() -> None:
    network = links_of(load_cluster("cpu-loopback"))
    assert network.ports == network.levels == 1
    with pytest.raises(PlannerError, match="does not describe its hosts"):
        host_route(network, ProgramBuilder(), 0, 1.0, outgoing=True)


@pytest.mark.parametrize("name", list_clusters())
def test_collectives_alone_take_the_time_of_the_closed_form(name: str) -> None:
    """One after the other on one stream: the engine's time of each equals ``CollectiveCost.seconds``."""
    cluster = load_cluster(name)
    random = np.random.default_rng(3)
    sizes = random.integers(2, min(cluster.devices, 2048) + 1, 12)
    strides = [int(random.integers(1, cluster.devices // size + 1)) for size in sizes]
    groups = spread(sizes, strides, cluster)
    network = network_links(cluster, partition(Layout(dp=cluster.devices), cluster.devices))
    builder, expected = ProgramBuilder(), []
    stream = builder.stream(0, "network")
    for collective in COLLECTIVES:
        for nbytes in (2e3, 3e6, 5e9):
            cost = collective_cost(collective, nbytes, groups, cluster)
            routes = [collective_route(network, builder, (0,), row.tolist()) for row in cost.bytes_per_level]
            builder.add(
                len(sizes),
                kind=TaskKind.TRANSFER,
                stream=stream,
                position=len(expected) + np.arange(len(sizes)),
                seconds=cost.seconds - cost.latency_s,
                latency_s=cost.latency_s,
                route=routes,
                actor=0,
            )
            expected += cost.seconds.tolist()
    run = run_shared(builder.build(network.links, 1))
    # Starts are sums of all that came before, so differences carry the rounding of the whole sum.
    assert run.end - run.start == pytest.approx(expected, rel=1e-9, abs=1e-12 * sum(expected))


def hop_seconds(network: NetworkLinks, sender: int, receiver: int, nbytes: float) -> float:
    cost = collective_cost("send_recv", nbytes, spread(2, 8, H100), H100)
    builder = ProgramBuilder()
    builder.add(
        1,
        kind=TaskKind.TRANSFER,
        seconds=cost.seconds - cost.latency_s,
        latency_s=cost.latency_s,
        route=message_route(network, builder, sender, receiver, cost.bytes_per_level[0].tolist()),
        actor=sender,
    )
    return run_shared(builder.build(network.links, 32)).makespan_s


def test_half_a_network_card_doubles_the_hops_through_it() -> None:
    """1 GiB over 46 GB/s takes 23.3 ms, over 23 GB/s twice that; start and latency stay, other devices do not notice."""
    factors = np.ones((32, 3))
    factors[8, INFINIBAND] = 0.5
    whole, slow = links_of(H100), links_of(H100, factors)
    moving = 2**30 / 46e9
    latency = hop_seconds(whole, 0, 8, 2**30) - moving
    assert 0 < latency < 30e-6
    assert hop_seconds(slow, 0, 8, 2**30) == pytest.approx(2 * moving + latency, rel=1e-9)
    assert hop_seconds(slow, 8, 16, 2**30) == pytest.approx(2 * moving + latency, rel=1e-9)
    assert hop_seconds(slow, 1, 9, 2**30) == pytest.approx(moving + latency, rel=1e-9)


def test_one_slow_card_holds_up_the_whole_group() -> None:
    """All-gather of 32 devices, bandwidth-bound: every byte passes the slowest member."""
    factors = np.ones((32, 3))
    factors[8, NVLINK] = factors[8, INFINIBAND] = 0.5
    cost = collective_cost("all_gather", 64e9, spread(32, 1, H100), H100)
    times = []
    for network in (links_of(H100), links_of(H100, factors)):
        builder = ProgramBuilder()
        route = collective_route(network, builder, range(32), cost.bytes_per_level[0].tolist())
        seconds = cost.seconds - cost.latency_s
        builder.add(
            1, kind=TaskKind.TRANSFER, seconds=seconds, latency_s=cost.latency_s, route=route, actor=0
        )
        times.append(run_shared(builder.build(network.links, 32)).makespan_s)
    assert times[1] / times[0] == pytest.approx(2.0, rel=0.02)
