"""Ports of devices into the levels of the network and into their host, and the routes of transfers over them.

A link is one direction of one device's port into one level. Every transfer loads the ports of its members only: what lies
between them (switches, cables) counts through the rate that a level achieves. Docs: docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import CollectiveConstants, achieved_rate
from planner.costs.offload import tier_rates
from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.simulator.actors import Actors
from planner.simulator.program import Links, ProgramBuilder

Floats = NDArray[np.float64]

OUT, IN = 0, 1


@dataclass(frozen=True, eq=False)
class NetworkLinks:
    """All links of all actors: per actor, per level innermost first and then the host, one out and one in.

    Args:
        links: for ``ProgramBuilder.build``.
        levels: of the network.
        ports: of one actor: levels, and one more where the cluster describes its hosts.
    """

    links: Links
    levels: int
    ports: int

    def link(self, actor: int, level: int, direction: int) -> int:
        """The index of a link.

        Args:
            level: of the network, ``levels`` for the host.
            direction: ``OUT`` or ``IN``.
        """
        return (actor * self.ports + level) * 2 + direction


def network_links(
    cluster: Cluster,
    actors: Actors,
    link_factors: Floats | None = None,
    constants: CollectiveConstants | None = None,
) -> NetworkLinks:
    """The links of the actors' representatives.

    A port carries what the level achieves per device (``costs.collectives.achieved_rate``), so that a collective alone on
    the network needs the time of the closed form; the host's link carries a device's share when all of a node use it.

    Args:
        link_factors: (devices, levels + 1), share of each port that is left, the host last; None: all whole.
        constants: of the collective model; None for the priors.
    """
    rates = [achieved_rate(level, constants or CollectiveConstants()) for level in cluster.network]
    host = tier_rates(cluster.host, cluster.devices_per_node, "host")
    both_ways = [[rate, rate] for rate in rates] + ([] if host is None else [[host.write, host.read]])
    ports, count = len(both_ways), len(actors)
    capacity = np.broadcast_to(np.array(both_ways), (count, ports, 2))
    if link_factors is not None:
        capacity = capacity * link_factors[actors.device][:, :ports, None]
    shape = (count, ports, 2)
    owner, level, direction = np.indices(shape, dtype=np.int64)
    return NetworkLinks(
        links=Links(
            capacity=np.ascontiguousarray(capacity, dtype=np.float64).ravel(),
            actor=owner.ravel(),
            level=level.ravel(),
            outgoing=direction.ravel() == OUT,
        ),
        levels=len(rates),
        ports=ports,
    )


def collective_route(
    network: NetworkLinks, builder: ProgramBuilder, members: Sequence[int], bytes_per_level: Sequence[float]
) -> int:
    """The route of a collective: every member sends and receives its bytes through its port of each level.

    Args:
        members: actors.
        bytes_per_level: (levels,), as ``CollectiveCost`` gives them.
    """
    loads = [
        (network.link(actor, level, direction), float(nbytes))
        for actor in members
        for level, nbytes in enumerate(bytes_per_level)
        if nbytes > 0
        for direction in (OUT, IN)
    ]
    return builder.route(loads, members)


def message_route(
    network: NetworkLinks,
    builder: ProgramBuilder,
    sender: int,
    receiver: int,
    bytes_per_level: Sequence[float],
) -> int:
    """The route of one message: out of the sender's port of each level, into the receiver's."""
    loads = [
        (network.link(actor, level, direction), float(nbytes))
        for actor, direction in ((sender, OUT), (receiver, IN))
        for level, nbytes in enumerate(bytes_per_level)
        if nbytes > 0
    ]
    return builder.route(loads, (sender, receiver))


def host_route(
    network: NetworkLinks, builder: ProgramBuilder, actor: int, nbytes: float, *, outgoing: bool
) -> int:
    """The route of a transfer between a device and its host.

    Raises:
        PlannerError: the cluster does not describe its hosts.
    """
    if network.ports == network.levels:
        raise PlannerError(
            "the cluster does not describe its hosts (memory and link bandwidth), so nothing can be moved to them",
            field="host",
        )
    link = network.link(actor, network.levels, OUT if outgoing else IN)
    return builder.route([(link, float(nbytes))], (actor,))
