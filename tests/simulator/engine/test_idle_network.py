"""A collective that has the network to itself takes the time of the closed form, on every cluster of the catalogue."""

from __future__ import annotations

import numpy as np
import pytest

from planner.costs.collectives import COLLECTIVES, collective_cost
from planner.hardware.catalogue import list_clusters
from planner.hardware.loader import load_cluster
from planner.layouts.mesh import spread
from planner.simulator.actors import Actors
from planner.simulator.engine.shared import run_shared
from planner.simulator.links import collective_route, message_route, network_links
from planner.simulator.program import ProgramBuilder, TaskKind

DRAWS = 60
MEMBERS = 4
"""Actors that stand for the members of a group, who all load their ports alike."""


def _actors(count: int) -> Actors:
    every = np.arange(count)
    return Actors(
        device=every,
        of_device=every,
        weight=np.ones(count, dtype=np.int64),
        pipeline_rank=np.zeros(count, dtype=np.int64),
        speed=np.ones(count),
        pipeline=every[:, None],
    )


@pytest.mark.parametrize("name", list_clusters())
def test_a_lone_collective_takes_the_closed_forms_time(name: str) -> None:
    cluster = load_cluster(name)
    random = np.random.default_rng(7)
    network = network_links(cluster, _actors(MEMBERS))
    for collective in COLLECTIVES:
        size = 2 ** random.integers(1, int(np.log2(cluster.devices)) + 1, DRAWS)
        stride = 2 ** random.integers(0, np.log2(cluster.devices // size).astype(int) + 1)
        nbytes = np.exp(random.uniform(np.log(1e3), np.log(1e10), DRAWS))
        cost = collective_cost(collective, nbytes, spread(size, stride, cluster), cluster)
        for row in range(DRAWS):
            builder = ProgramBuilder()
            loads = cost.bytes_per_level[row]
            if collective == "send_recv":
                route = message_route(network, builder, 0, 1, loads)
            else:
                route = collective_route(network, builder, range(min(MEMBERS, int(size[row]))), loads)
            latency = cost.latency_s[row]
            builder.add(
                1,
                kind=TaskKind.TRANSFER,
                seconds=cost.seconds[row] - latency,
                latency_s=latency,
                route=route,
            )
            execution = run_shared(builder.build(network.links, MEMBERS))
            assert execution.makespan_s == pytest.approx(cost.seconds[row], rel=1e-9), (collective, size[row])
            assert execution.makespan_s > 0
