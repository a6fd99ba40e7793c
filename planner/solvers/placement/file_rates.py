"""Rates between nodes as a cluster's file states them: what measured links are compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import CollectiveConstants, achieved_rate
from planner.errors import PlannerError
from planner.hardware.types import Cluster


def file_rates(cluster: Cluster, nodes: int) -> NDArray[np.float64]:
    """(nodes, nodes): bytes/s between two nodes, all devices of the node together over the slowest level on the way.

    Args:
        nodes: of the matrix; those beyond the cluster's continue its numbering.

    Raises:
        PlannerError: the cluster is one node.
    """
    per_node = cluster.devices_per_node
    outside = [level for level in cluster.network if level.size > per_node]
    if not outside:
        raise PlannerError(
            "the job runs on one node; placement needs a layout that spans two or more", field="devices"
        )
    achieved = [per_node * achieved_rate(level, CollectiveConstants()) for level in outside]
    reached = np.minimum.accumulate(achieved)
    rates = np.full((nodes, nodes), reached[-1])
    place = np.arange(nodes)
    for level, rate in zip(outside[-2::-1], reached[-2::-1], strict=True):
        domain = place // max(level.size // per_node, 1)
        rates[domain[:, None] == domain[None, :]] = rate
    return rates
