"""Timings of one collective on one machine, size by size: what is priced, fitted and scored together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import Collective, CollectiveConstants
from planner.hardware.types import Cluster
from planner.validation.collectives.machines import Machine, cluster_of
from planner.validation.collectives.pricing import price
from planner.validation.points import Labels, Point

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Timing:
    """One measured call.

    Args:
        order: its place among all timings of the answer.
        nbytes: as nccl-tests counts them.
    """

    order: int
    id: str
    subject: str
    band: str
    nbytes: float
    measured_s: float
    half_width_s: float


@dataclass(frozen=True)
class Sweep:
    """Timings that differ in their size alone.

    Args:
        labels: of their groups, without the band.
        algorithm: the one that the source names, else ``auto``.
        constants: of the library that ran; None for the priors.
        launch_s: what the benchmark adds to every call on the host.
        apart: why its points are scored apart, None where they count.
    """

    labels: Labels
    machine: Machine
    collective: Collective
    algorithm: str
    constants: CollectiveConstants | None
    launch_s: float
    apart: str | None
    timings: tuple[Timing, ...]

    @cached_property
    def sizes(self) -> FloatArray:
        return np.array([timing.nbytes for timing in self.timings])

    @cached_property
    def measured_s(self) -> FloatArray:
        return np.array([timing.measured_s for timing in self.timings])

    @cached_property
    def half_width_s(self) -> FloatArray:
        return np.array([timing.half_width_s for timing in self.timings])

    def predicted(self, cluster: Cluster) -> FloatArray:
        """Seconds of every timing on that cluster.

        Raises:
            PlannerError: the algorithm cannot run there.
        """
        found = price(
            self.collective, self.sizes, self.machine.ranks, cluster, self.algorithm, self.constants
        )
        return np.asarray(found.seconds + self.launch_s)

    def points(self, predicted: FloatArray) -> list[tuple[int, Point]]:
        """Order and point of every timing with those predictions."""
        return [
            (
                timing.order,
                Point(
                    id=timing.id,
                    labels={**self.labels, "band": timing.band},
                    subject=timing.subject,
                    measured_s=timing.measured_s,
                    half_width_s=timing.half_width_s,
                    predicted_s=float(seconds),
                    apart=self.apart,
                ),
            )
            for timing, seconds in zip(self.timings, predicted, strict=True)
        ]


def predicted_points(sweeps: Iterable[Sweep], *, calibrated: bool) -> list[tuple[int, Point]]:
    """Order and point of every timing of the sweeps.

    Args:
        calibrated: with the fitted constants of the catalogue, else from the priors alone.
    """
    clusters: dict[Machine, Cluster] = {}
    found: list[tuple[int, Point]] = []
    for sweep in sweeps:
        if sweep.machine not in clusters:
            clusters[sweep.machine] = cluster_of(sweep.machine, calibrated=calibrated)
        found += sweep.points(sweep.predicted(clusters[sweep.machine]))
    return found


def sorted_points(found: Sequence[tuple[int, Point]]) -> tuple[Point, ...]:
    """The points in the order of the files."""
    return tuple(point for _, point in sorted(found, key=lambda item: item[0]))
