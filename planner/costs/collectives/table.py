"""One group alone on the network, size by size: the table that nccl-tests prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.collectives.dispatch import busbw_factor, collective_cost
from planner.costs.collectives.types import Algorithm, Collective
from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.layouts.mesh import spread


@dataclass(frozen=True)
class Line:
    """One size. Rates are bytes/s, None for a group of one.

    Args:
        bytes: the larger of one rank's input and output buffer.
        count: elements of that buffer.
        seconds, latency_s: of the call, and of it the part that does not depend on the bytes.
        algbw, busbw: as nccl-tests defines them.
        algorithm: the name of the algorithm chosen.
        bytes_per_level: bytes that one device sends through its links of each level.
    """

    bytes: int
    count: int
    seconds: float
    latency_s: float
    algbw: float | None
    busbw: float | None
    algorithm: str
    bytes_per_level: tuple[float, ...]


@dataclass(frozen=True)
class Group:
    """The group of ``ranks`` ranks that starts at rank 0 with a distance of ``stride``."""

    cluster: Cluster
    ranks: int
    stride: int = 1

    @property
    def ranks_per_level(self) -> tuple[float, ...]:
        """Members that share a domain of each level, innermost first."""
        members = spread(self.ranks, self.stride, self.cluster, devices=self._span).ranks_per_level[0]
        return tuple(float(value) for value in members)

    @property
    def _span(self) -> int:
        return self.ranks * self.stride

    def table(
        self, collective: Collective, sizes: Sequence[float], *, algorithm: str = "auto", dtype_bytes: int = 2
    ) -> list[Line]:
        """The cost of every size.

        Raises:
            PlannerError: the group is larger than the cluster, or the algorithm cannot run there.
        """
        if self._span > self.cluster.devices:
            raise PlannerError(
                f"{self.ranks} ranks at stride {self.stride} need {self._span} devices, "
                f"but {self.cluster.name} has {self.cluster.devices}",
                field="ranks",
            )
        groups = spread(np.full(len(sizes), self.ranks), self.stride, self.cluster, devices=self._span)
        cost = collective_cost(
            collective, np.array(sizes), groups, self.cluster, algorithm=algorithm, dtype_bytes=dtype_bytes
        )
        factor = float(busbw_factor(collective, self.ranks))
        lines = []
        for row, nbytes in enumerate(sizes):
            seconds = float(cost.seconds[row])
            algbw = nbytes / seconds if seconds > 0 else None
            lines.append(
                Line(
                    bytes=int(nbytes),
                    count=int(nbytes) // dtype_bytes,
                    seconds=seconds,
                    latency_s=float(cost.latency_s[row]),
                    algbw=algbw,
                    busbw=None if algbw is None else algbw * factor,
                    algorithm=Algorithm(int(cost.algorithm[row])).label,
                    bytes_per_level=tuple(float(value) for value in cost.bytes_per_level[row]),
                )
            )
        return lines
