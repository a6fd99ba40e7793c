"""Algorithms that work level by level: hierarchical ring, and reduction inside the switches."""

from __future__ import annotations

import numpy as np

from planner.costs.collectives.flat import tree_share
from planner.costs.collectives.paths import Paths, moving
from planner.costs.collectives.types import Collective, Estimate, Floats
from planner.hardware.types import NetworkLevel


def hierarchical(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """Reduce-scatter inside, all-reduce of the shards between, all-gather inside: one ring per level, one after the other.

    A level with r members handles the buffer divided by the ranks inside one domain below it. Two calls per level for
    all-reduce, except one for the outermost; one call per level for all-gather and reduce-scatter.
    """
    passes = 2 if collective == "all_reduce" else 1
    sent = np.where(
        paths.crossed, passes * (paths.members - 1) / paths.members * nbytes[:, None] / paths.inside, 0
    )
    hop_latency = passes * paths.hops * paths.latency
    outermost = np.cumsum(paths.crossed[:, ::-1], axis=1)[:, ::-1] == 1
    latency = (np.where(outermost, 1, passes) * paths.crossed * paths.start + hop_latency).sum(axis=1)
    transfer = sent / paths.neighbour
    return Estimate(
        seconds=latency + moving(passes * paths.fill, transfer, transfer / paths.low_latency).sum(axis=1),
        latency_s=latency,
        bytes_per_level=paths.loads(sent),
        legal=np.ones(len(nbytes), dtype=np.bool_),
    )


def in_network(collective: Collective, nbytes: Floats, paths: Paths) -> Estimate:
    """All-reduce in which switches add: the buffer passes such a level once, priced on algbw.

    NVLS reaches a fixed part of the ring's bus bandwidth whatever the number of ranks (H200: 259 to 276 GB/s for 5 to 8
    GPUs); levels without it join by double binary trees (NVLSTree). All levels work at the same time, chunk by chunk; each
    member adds its own share of a chunk, so a chunk fills more of the switch the more members there are (72 GPUs of a
    GB200 rack need 8 GiB to reach the rate, 8 GPUs 512 MiB).
    """
    constants, network = paths.constants, paths.cluster.network
    offered = np.array([level.in_network_reduction for level in network])
    efficiency = np.array([_efficiency(index, level, paths) for index, level in enumerate(network)])
    enough = paths.members >= np.where(paths.outside, 2, constants.in_switch_min_ranks)
    reducing = paths.crossed & offered & enough
    treed = paths.crossed & ~reducing
    part = nbytes[:, None] / paths.inside
    added = paths.joined(np.where(reducing, part, 0))
    passed = paths.joined(np.where(treed, tree_share(paths.members_outward(treed)) * part, 0))
    times = added / np.where(reducing, efficiency, 1) + passed / constants.tree_efficiency
    transfer = (times / paths.neighbour).max(axis=1)
    hops = np.where(reducing, 4, 2 * paths.depth)
    shares = np.where(reducing & ~paths.outside, np.maximum(paths.members / constants.switch_slots, 1), 1)
    weight = np.where(reducing, paths.in_network_weight, paths.weight)
    fill = (hops * shares * paths.latency * weight).sum(axis=1)
    start = paths.call + np.where((reducing & ~paths.outside).any(axis=1), constants.in_switch_s, 0)
    start += (hops * paths.latency).sum(axis=1)
    torus = np.array([level.fabric in ("torus", "ring") for level in network])
    return Estimate(
        seconds=start + transfer + 2 * np.sqrt(fill * transfer),
        latency_s=start,
        bytes_per_level=added + passed,
        legal=reducing.any(axis=1) & ~(paths.crossed & torus).any(axis=1),
    )


def _efficiency(index: int, level: NetworkLevel, paths: Paths) -> float:
    """algbw of a reducing switch over the ring's bus bandwidth: the level's own figure, else the prior of its kind."""
    if level.in_network_efficiency is not None:
        return level.in_network_efficiency / level.efficiency
    if paths.outside[index]:
        return paths.constants.in_network_efficiency
    if level.kind is not None and "nvlink5" in level.kind:
        return paths.constants.in_switch_efficiency_nvlink5
    return paths.constants.in_switch_efficiency
