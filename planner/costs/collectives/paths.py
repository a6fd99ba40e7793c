"""The network as one group sees it: arrays shared by all algorithms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.collectives.constants import CollectiveConstants
from planner.costs.collectives.fabrics import achieved_rate, reach
from planner.costs.collectives.types import Booleans, Floats
from planner.hardware.types import Cluster
from planner.layouts.mesh import Spread


@dataclass(frozen=True, eq=False)
class Paths:
    """Rates, hops and members by level for each group.

    Args:
        cluster, constants: as given.
        ranks: (rows,), size of the group.
        members: (rows, levels), members that share a domain, counted in domains of the level below.
        inside: (rows, levels), ranks of the group inside one domain of the level below: so many network cards work for it.
        domains: (rows, levels), domains of the level that the group touches.
        crossed: (rows, levels), whether the level joins members at all.
        neighbour, uniform, flow: (rows, levels), bytes/s per device, of links that a domain below has one of a member's
            share; infinite where the level is not crossed.
        hops: (rows, levels), hops of a pass over the members of one domain; where they share cores, as many turns each.
        depth: (rows, levels), hops from a leaf of a tree to its root: a chain inside the node, log2 of its domains outside, as
            NCCL builds them (src/graph/tuning.cc).
        fill: (rows, levels), weighted latency of the hops that a chunked ring feels: up to ``slots`` inside the node
            (``pair_hops`` of two ranks), one outside it, where network cards keep many messages in flight.
        latency: (levels,), seconds of one hop.
        weight, in_network_weight: (levels,), what the hops of a chunked message count; the same when the switches add.
        start, message_start: (levels,), start of one call, and of one message.
        call: (rows,), start of one call over all levels that it crosses: the latest of theirs.
        low_latency: (levels,), share of the rates that the protocols for small messages reach.
        outside: (levels,), whether the level lies outside the node, behind the network card.
        host_driven: (levels,), whether the hosts move the bytes.
        gap: (levels,), seconds between messages that are posted together.
        turns: (rows,), members of the group per core of their host, at least 1: whom a message wakes waits for its turn.
    """

    cluster: Cluster
    constants: CollectiveConstants
    ranks: Floats
    members: Floats
    inside: Floats
    domains: Floats
    crossed: Booleans
    neighbour: Floats
    uniform: Floats
    flow: Floats
    hops: Floats
    depth: Floats
    fill: Floats
    latency: Floats
    weight: Floats
    in_network_weight: Floats
    start: Floats
    message_start: Floats
    call: Floats
    low_latency: Floats
    outside: Booleans
    host_driven: Booleans
    gap: Floats
    turns: Floats

    def loads(self, exact: Floats) -> Floats:
        """Bytes through a device's links of each level from the bytes that go exactly as far as it.

        All levels outside the node are reached through the same network card, so bytes for an outer one load the inner ones.
        """
        return self._outward(exact, np.add)

    def joined(self, loads: Floats) -> Floats:
        """The same where one stream serves all levels behind the card: it carries what its widest level needs, once."""
        return self._outward(loads, np.maximum)

    def members_outward(self, taking_part: Booleans) -> Floats:
        """(rows, levels): members of each level together with those of all outer ones behind the same card.

        Args:
            taking_part: (rows, levels), levels whose members count.
        """
        return self._outward(np.where(taking_part, self.members, 1.0), np.multiply)

    def _outward(self, values: Floats, combine: np.ufunc) -> Floats:
        result = values.copy()
        for index in range(values.shape[1] - 2, -1, -1):
            if self.outside[index]:
                result[:, index] = combine(result[:, index], result[:, index + 1])
        return result


def moving(fill: Floats, transfer: Floats, low_latency: Floats) -> Floats:
    """Time of a message beyond start and latency: chunked, or by a protocol for small messages, whichever is sooner.

    Cut into c chunks that follow each other over hops of latency L in all it takes (hops + c)(L / hops + T / c); the best c
    gives L + T + 2 sqrt(L T). Protocols that send flags with the data (NCCL's LL) fill nothing, at part of the rate.

    Args:
        fill: weighted latency of the hops; transfer: at the full rate; low_latency: the same at that of small messages.
    """
    soonest: Floats = np.minimum(transfer + 2 * np.sqrt(fill * transfer), low_latency)
    return soonest


def paths(spread: Spread, cluster: Cluster, constants: CollectiveConstants) -> Paths:
    """The network of a cluster as the groups of a spread see it."""
    members = spread.ranks_per_level
    crossed = members > 1
    inside = np.concatenate([np.ones((len(members), 1)), np.cumprod(members, axis=1)[:, :-1]], axis=1)
    inner = [1, *(level.size for level in cluster.network[:-1])]
    levels = [
        reach(level, index, below, spread, constants)
        for index, (level, below) in enumerate(zip(cluster.network, inner, strict=True))
    ]
    turns = _turns(spread, cluster)
    hops = np.where(crossed, np.stack([level.hops for level in levels], axis=1), 0) * turns[:, None]
    latency = np.array([level.latency_s for level in cluster.network])
    weight = _weights([level.ramp for level in cluster.network], constants)
    start = _starts([level.start_s for level in cluster.network], constants)
    outside = _outside(cluster)
    card = _card_rates(cluster, outside, constants)
    sharing = np.where(_of_kinds(cluster, constants.one_root), inside, 1)
    return Paths(
        cluster=cluster,
        constants=constants,
        ranks=spread.size.astype(np.float64),
        members=members,
        inside=inside,
        domains=spread.domains.astype(np.float64),
        crossed=crossed,
        neighbour=_rates([level.neighbour for level in levels], card, crossed) / sharing,
        uniform=_rates([level.uniform for level in levels], card, crossed) / sharing,
        flow=_rates([level.flow for level in levels], card, crossed),
        hops=hops,
        depth=_depth(members, outside, cluster.devices_per_node),
        fill=_felt(hops, spread.size == 2, outside, constants) * latency * weight,
        latency=latency,
        weight=weight,
        in_network_weight=_weights([level.in_network_ramp for level in cluster.network], constants),
        start=start,
        message_start=_starts([level.message_start_s for level in cluster.network], constants),
        call=(crossed * start).max(axis=1),
        low_latency=_low_latency(cluster, outside, constants),
        outside=outside,
        host_driven=_of_kinds(cluster, constants.host_driven),
        gap=np.where(
            _of_kinds(cluster, constants.gloo), latency, np.minimum(latency, constants.message_gap_s)
        ),
        turns=turns,
    )


def _turns(spread: Spread, cluster: Cluster) -> Floats:
    """(rows,): members of a group per core, where devices are processes on the cores of a host."""
    members = spread.size.astype(np.float64)
    if not cluster.accelerator.synchronous or cluster.host.cores is None:
        return np.ones_like(members)
    return np.maximum(np.minimum(members, cluster.devices_per_node) / cluster.host.cores, 1.0)


def _rates(rates: list[Floats], card: Floats, crossed: Booleans) -> Floats:
    return np.where(crossed, np.minimum(np.stack(rates, axis=1), card), np.inf)


def _weights(ramps: list[float], constants: CollectiveConstants) -> Floats:
    """The term is 2 ramp sqrt(L T), so a level's latency counts with the square of its ramp."""
    return np.asarray((constants.pipelining * np.array(ramps)) ** 2)


def _starts(stated: list[float | None], constants: CollectiveConstants) -> Floats:
    return np.array([constants.base_s if start is None else start for start in stated])


def _low_latency(cluster: Cluster, outside: Booleans, constants: CollectiveConstants) -> Floats:
    """(levels,): share of the rate by the level itself, else by its place."""
    priors = np.where(outside, constants.low_latency_outside, constants.low_latency_inside)
    stated = [level.low_latency_share for level in cluster.network]
    return np.array([prior if own is None else own for own, prior in zip(stated, priors, strict=True)])


def _of_kinds(cluster: Cluster, kinds: tuple[str, ...]) -> Booleans:
    """(levels,): whether the level is a link of one of these kinds."""
    return np.array([(level.kind or "").startswith(kinds) for level in cluster.network])


def _card_rates(cluster: Cluster, outside: Booleans, constants: CollectiveConstants) -> Floats:
    """(levels,): what the levels on the way to each one let pass: all those behind the card are reached through one another."""
    achieved = [achieved_rate(level, constants) for level in cluster.network]
    return np.minimum.accumulate(np.where(outside, achieved, np.inf))


def _felt(hops: Floats, pair: Booleans, outside: Booleans, constants: CollectiveConstants) -> Floats:
    """(rows, levels): hops that a chunked ring feels."""
    inside = np.where(pair[:, None] & (hops == 1), constants.pair_hops, np.minimum(hops, constants.slots))
    return np.where(outside, np.minimum(hops, 1), inside)


def _depth(members: Floats, outside: Booleans, per_node: int) -> Floats:
    chained = np.where(outside, 1, np.minimum(members, per_node))
    return chained - 1 + np.ceil(np.log2(np.maximum(members / chained, 1)))


def _outside(cluster: Cluster) -> Booleans:
    """(levels,): whether a level lies behind the network card.

    A level that spans nodes and keeps the rate of the one below is still a scale-up fabric (NVL72, a TPU pod, a unified bus).
    """
    result: list[bool] = []
    for index, level in enumerate(cluster.network):
        slower = (
            index > 0
            and level.size > cluster.devices_per_node
            and level.bandwidth <= cluster.network[index - 1].bandwidth / 2
        )
        result.append(
            level.fabric in ("rail", "fat_tree", "dragonfly") or slower or (index > 0 and result[-1])
        )
    return np.array(result)
