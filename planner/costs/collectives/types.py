"""Names and results of the collective cost model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

Collective = Literal["all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "send_recv"]
COLLECTIVES: tuple[Collective, ...] = get_args(Collective)


class Algorithm(IntEnum):
    """How a collective runs; the codes that stand in ``CollectiveCost.algorithm``."""

    NONE = 0
    RING = 1
    TREE = 2
    HIERARCHICAL = 3
    IN_NETWORK = 4
    STAR = 5
    LINEAR = 6
    TWO_LEVEL = 7
    DIRECT = 8

    @property
    def label(self) -> str:
        """The name used in flags, files and tables."""
        return self.name.lower()


@dataclass(frozen=True, eq=False)
class Estimate:
    """What one algorithm costs, one row per call.

    Args:
        seconds: (rows,).
        latency_s: (rows,), the part that does not depend on the bytes.
        bytes_per_level: (rows, levels), bytes that one device sends through its links of each level.
        legal: (rows,), whether the algorithm can run there at all.
    """

    seconds: Floats
    latency_s: Floats
    bytes_per_level: Floats
    legal: Booleans


@dataclass(frozen=True, eq=False)
class CollectiveCost:
    """The cost of one call of a collective, one row per group.

    Args:
        seconds: (rows,), the collective alone on the network, host launch not included.
        latency_s: (rows,), the part that does not depend on the bytes.
        bytes_per_level: (rows, levels), bytes that one device sends through its links of each level, innermost first
            (the levels outside the node share the network card: bytes for an outer one pass the inner ones as well).
        algorithm: (rows,), codes of ``Algorithm``.
    """

    seconds: Floats
    latency_s: Floats
    bytes_per_level: Floats
    algorithm: NDArray[np.int8]

    def take(self, rows: slice | NDArray[np.int64]) -> CollectiveCost:
        """Some of the rows."""
        return CollectiveCost(
            self.seconds[rows], self.latency_s[rows], self.bytes_per_level[rows], self.algorithm[rows]
        )
