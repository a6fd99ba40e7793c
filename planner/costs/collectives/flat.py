"""Algorithms that treat the group as one: ring, double binary tree, star, and a single message."""

from __future__ import annotations

import numpy as np

from planner.costs.collectives.paths import Paths, moving
from planner.costs.collectives.types import Collective, Estimate, Floats


def ring(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """Ring (NCCL): each device sends (n-1)/n of the buffer once, twice for all-reduce.

    The ring leaves each inner domain once, and as many rings run as the domain has members, so a level gives the members of
    a domain below it times its rate per device; the slowest level sets the pace. A chunk meets every edge of the ring once
    per pass, so latency sums over the edges (NCCL src/graph/tuning.cc).
    """
    n = paths.ranks
    passes = 2 if collective == "all_reduce" else 1
    sent = nbytes if collective == "broadcast" else passes * (n - 1) / n * nbytes
    rates = paths.neighbour * paths.inside
    latency = passes * (paths.domains * paths.hops * paths.latency).sum(axis=1)
    below = np.concatenate([n[:, None], paths.domains[:, :-1]], axis=1)
    leaving = np.where(below > 1, below, 0)
    edges = leaving - np.concatenate([leaving[:, 1:], np.zeros((len(n), 1))], axis=1)
    small = sent / (rates * paths.low_latency).min(axis=1)
    return Estimate(
        seconds=paths.call
        + latency
        + moving(passes * paths.fill.sum(axis=1), sent / rates.min(axis=1), small),
        latency_s=paths.call + latency,
        bytes_per_level=paths.loads(sent[:, None] * edges / n[:, None]),
        legal=np.ones(len(n), dtype=np.bool_),
    )


def tree(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """Double binary tree (Sanders, Speck, Traff 2009; NCCL): two trees, each with half of the buffer.

    Every node is a leaf of one tree and an inner node of the other, so it sends the buffer twice (up to one parent, down to
    two children); two nodes send it once. The depth is passed there and back for all-reduce.
    """
    two_way = collective == "all_reduce"
    members = paths.members_outward(paths.crossed)
    share = np.where(members > 2, 2, 1) if not two_way else tree_share(members)
    loads = paths.joined(np.where(paths.crossed, nbytes[:, None] * share / paths.inside, 0))
    times = loads / (paths.neighbour * paths.constants.tree_efficiency)
    latency = (1 + two_way) * paths.depth * paths.latency
    fill = (latency * paths.weight).sum(axis=1)
    start = paths.call + latency.sum(axis=1)
    torus = np.array([level.fabric in ("torus", "ring") for level in paths.cluster.network])
    return Estimate(
        seconds=start + moving(fill, times.max(axis=1), (times / paths.low_latency).max(axis=1)),
        latency_s=start,
        bytes_per_level=loads,
        legal=~(paths.crossed & torus).any(axis=1),
    )


def tree_share(members: Floats) -> Floats:
    """How often the buffer leaves a domain in an all-reduce over double binary trees: 1 between two, else 2."""
    return np.where(members > 2, 2, 2 * (members - 1) / np.maximum(members, 1))


def star(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """All-reduce through one root: two hops, but the root moves 2 (n-1) buffers (TPI-LLM, arXiv 2410.00531).

    Legal where the host drives the network; device libraries do not offer it.
    """
    n = paths.ranks
    hop = np.where(paths.crossed, paths.latency, 0)
    fill = 2 * (hop * paths.weight).max(axis=1)
    transfer = 2 * (n - 1) * nbytes / paths.uniform.min(axis=1)
    exact = np.where(paths.crossed, (paths.members - 1) * paths.inside * nbytes[:, None], 0)
    start = paths.call + 2 * hop.max(axis=1)
    return Estimate(
        seconds=start + transfer + 2 * np.sqrt(fill * transfer),
        latency_s=start,
        bytes_per_level=paths.loads(exact),
        legal=np.asarray((paths.crossed & paths.host_driven).any(axis=1)),
    )


def direct(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """One message to the next member of the group, over the slowest level that any such message crosses."""
    start = paths.message_start + paths.latency
    times = np.where(paths.crossed, start + nbytes[:, None] / paths.flow, 0)
    slowest = np.argmax(times, axis=1)[:, None]
    exact = np.zeros_like(times)
    np.put_along_axis(exact, slowest, nbytes[:, None], axis=1)
    return Estimate(
        seconds=np.take_along_axis(times, slowest, axis=1)[:, 0],
        latency_s=start[slowest[:, 0]],
        bytes_per_level=paths.loads(exact),
        legal=np.ones(len(nbytes), dtype=np.bool_),
    )
