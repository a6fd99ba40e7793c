"""Collectives of one machine, priced together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from planner.costs.collectives import Collective, CollectiveConstants, CollectiveCost, collective_cost
from planner.hardware.types import Cluster
from planner.layouts.mesh import spread

MIB = 2**20
BANDS = (("< 1 MiB", 0), ("1-64 MiB", MIB), (">= 64 MiB", 64 * MIB))
"""Bands of sizes and the bytes that each begins with: latency, the switch of protocols, bandwidth."""

PLATEAU = "plateau"
"""The band of rates that are printed without a size."""

PLATEAU_BYTES = 8.0 * 2**30
"""Where such a rate is priced: published sweeps end there or above, on their plateau."""


def band_of(nbytes: float) -> str:
    """The band of a size."""
    return next(name for name, first in reversed(BANDS) if nbytes >= first)


def price(
    collective: Collective,
    sizes: ArrayLike,
    ranks: int,
    cluster: Cluster,
    algorithm: str = "auto",
    constants: CollectiveConstants | None = None,
) -> CollectiveCost:
    """The cost of one call per size over the first ranks of a cluster.

    Args:
        sizes: bytes as nccl-tests counts them.

    Raises:
        PlannerError: the algorithm cannot run there.
    """
    nbytes = np.atleast_1d(np.asarray(sizes, dtype=np.float64))
    groups = spread(np.full(len(nbytes), ranks), 1, cluster, devices=ranks)
    return collective_cost(collective, nbytes, groups, cluster, algorithm=algorithm, constants=constants)
