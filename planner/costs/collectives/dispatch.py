"""One function for every collective: choose the algorithm, return the cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from planner.costs.collectives.alltoall import linear, two_level
from planner.costs.collectives.constants import CollectiveConstants
from planner.costs.collectives.flat import direct, ring, star, tree
from planner.costs.collectives.hierarchical import hierarchical, in_network
from planner.costs.collectives.paths import Paths, paths
from planner.costs.collectives.types import (
    COLLECTIVES,
    Algorithm,
    Collective,
    CollectiveCost,
    Estimate,
    Floats,
)
from planner.errors import PlannerError, suggest
from planner.hardware.types import Cluster
from planner.layouts.mesh import Spread

TIE = 1e-9
"""Relative difference below which the earlier, simpler algorithm keeps its place."""

Price = Callable[[Collective, Floats, Paths], Estimate]

_RINGS: dict[Algorithm, Price] = {Algorithm.RING: ring, Algorithm.HIERARCHICAL: hierarchical}
_OFFERED: dict[Collective, dict[Algorithm, Price]] = {
    "all_reduce": {**_RINGS, Algorithm.TREE: tree, Algorithm.IN_NETWORK: in_network, Algorithm.STAR: star},
    "reduce_scatter": _RINGS,
    "all_gather": _RINGS,
    "all_to_all": {Algorithm.LINEAR: linear, Algorithm.TWO_LEVEL: two_level},
    "broadcast": {Algorithm.RING: ring, Algorithm.TREE: tree},
    "send_recv": {Algorithm.DIRECT: direct},
}


def algorithms(collective: Collective) -> tuple[str, ...]:
    """Names of the algorithms that a collective offers."""
    return tuple(algorithm.label for algorithm in _offered(collective))


def collective_cost(
    collective: Collective,
    nbytes: ArrayLike,
    spread: Spread,
    cluster: Cluster,
    *,
    algorithm: str = "auto",
    dtype_bytes: int = 2,
    constants: CollectiveConstants | None = None,
) -> CollectiveCost:
    """Time and traffic of one call, for every row of a spread.

    Args:
        collective: a name of ``COLLECTIVES``.
        nbytes: (rows,) or scalar: the larger of one rank's input and output buffer, as nccl-tests counts it.
        spread: the groups on the network.
        algorithm: ``auto`` takes the fastest legal one of each row that the devices' library chooses among; NCCL and RCCL
            have no ``hierarchical``, frameworks build it on top of them and name it.
        dtype_bytes: bytes of one element: no rank handles less than one.
        constants: None for the priors.

    Raises:
        PlannerError: unknown collective or algorithm, or an algorithm that cannot run on some row.
    """
    offered = _offered(collective)
    network = paths(spread, _found_by(collective, cluster), constants or CollectiveConstants())
    given = np.broadcast_to(np.asarray(nbytes, dtype=np.float64), network.ranks.shape)
    whole = (
        given if collective in ("broadcast", "send_recv") else np.maximum(given, network.ranks * dtype_bytes)
    )
    chosen = _automatic(offered, network) if algorithm == "auto" else (_named(collective, algorithm),)
    active = (network.ranks > 1) & (given > 0)
    best = _fastest({code: offered[code](collective, whole, network) for code in chosen})
    if algorithm != "auto" and not (np.isfinite(best.seconds) | ~active).all():
        raise PlannerError(
            f"algorithm '{algorithm}' of {collective} cannot run on this network", field="algorithm"
        )
    return CollectiveCost(
        seconds=np.where(active, best.seconds, 0.0),
        latency_s=np.where(active, best.latency_s, 0.0),
        bytes_per_level=np.where(active[:, None], best.bytes_per_level, 0.0),
        algorithm=np.where(active, best.algorithm, Algorithm.NONE).astype(np.int8),
    )


def _found_by(collective: Collective, cluster: Cluster) -> Cluster:
    """The cluster with the figures that its levels have for one collective alone."""
    if not any(level.own for level in cluster.network):
        return cluster
    return replace(cluster, network=tuple(level.of(collective) for level in cluster.network))


def busbw_factor(collective: Collective, ranks: ArrayLike) -> Floats:
    """busbw / algbw as nccl-tests defines them (doc/PERFORMANCE.md of NVIDIA/nccl-tests)."""
    n = np.asarray(ranks, dtype=np.float64)
    _offered(collective)
    if collective == "all_reduce":
        return 2 * (n - 1) / n
    if collective in ("broadcast", "send_recv"):
        return np.ones_like(n)
    return (n - 1) / n


def _fastest(estimates: dict[Algorithm, Estimate]) -> CollectiveCost:
    """The fastest legal algorithm of each row; infinite seconds where none is legal."""
    result: CollectiveCost | None = None
    for code, estimate in estimates.items():
        seconds = np.where(estimate.legal, estimate.seconds, np.inf)
        codes = np.full(len(seconds), code, dtype=np.int8)
        if result is None:
            result = CollectiveCost(seconds, estimate.latency_s, estimate.bytes_per_level, codes)
            continue
        better = seconds < result.seconds * (1 - TIE)
        result = CollectiveCost(
            seconds=np.where(better, seconds, result.seconds),
            latency_s=np.where(better, estimate.latency_s, result.latency_s),
            bytes_per_level=np.where(better[:, None], estimate.bytes_per_level, result.bytes_per_level),
            algorithm=np.where(better, codes, result.algorithm),
        )
    if result is None:
        raise PlannerError("no algorithm given")
    return result


def collective_named(name: str) -> Collective:
    """The collective of that name.

    Raises:
        PlannerError: there is none; the message suggests the nearest.
    """
    for known in COLLECTIVES:
        if known == name:
            return known
    raise PlannerError(f"unknown collective '{name}': {suggest(name, COLLECTIVES)}", field="collective")


def _automatic(offered: dict[Algorithm, Price], network: Paths) -> tuple[Algorithm, ...]:
    """What a library chooses among: NCCL and RCCL never work level by level, HCCL, XLA and MPI do; gloo has rings only."""
    if all((level.kind or "").startswith(network.constants.gloo) for level in network.cluster.network):
        return tuple(offered)[:1]
    flat = network.cluster.accelerator.vendor in network.constants.flat_vendors
    return tuple(
        code
        for code in offered
        if not (code == Algorithm.HIERARCHICAL and flat and not network.host_driven.any())
    )


def _offered(collective: str) -> dict[Algorithm, Price]:
    return _OFFERED[collective_named(collective)]


def _named(collective: str, algorithm: str) -> Algorithm:
    for code in _offered(collective):
        if code.label == algorithm:
            return code
    choices = ["auto", *(code.label for code in _offered(collective))]
    raise PlannerError(
        f"{collective} has no algorithm '{algorithm}': {suggest(algorithm, choices)}", field="algorithm"
    )
