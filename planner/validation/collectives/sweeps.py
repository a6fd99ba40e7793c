"""Timings of one collective on one machine, size by size: what is priced, fitted and scored together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
        issue_s: the host's time from one call to the next, where kernels are timed by themselves and calls follow one another:
            a kernel that has begun waits for that of the rank whose host is behind.
    """

    labels: Labels
    machine: Machine
    collective: Collective
    algorithm: str
    constants: CollectiveConstants | None
    launch_s: float
    apart: str | None
    timings: tuple[Timing, ...]
    issue_s: float = 0.0

    @cached_property
    def sizes(self) -> FloatArray:
        return np.array([timing.nbytes for timing in self.timings])

    @cached_property
    def measured_s(self) -> FloatArray:
        return np.array([timing.measured_s for timing in self.timings])

    @cached_property
    def half_width_s(self) -> FloatArray:
        return np.array([timing.half_width_s for timing in self.timings])

    def some(self, mask: ArrayLike) -> Sweep:
        """The sweep with those of its timings that a mask takes."""
        chosen = np.flatnonzero(np.asarray(mask, dtype=np.bool_))
        return replace(self, timings=tuple(self.timings[index] for index in chosen))

    def predicted(self, cluster: Cluster) -> FloatArray:
        """Seconds of every timing on that cluster.

        Raises:
            PlannerError: the algorithm cannot run there.
        """
        found = price(
            self.collective, self.sizes, self.machine.ranks, cluster, self.algorithm, self.constants
        )
        return np.asarray(np.maximum(found.seconds, self.issue_s) + self.launch_s)

    def errors(self, predicted: FloatArray) -> FloatArray:
        """Signed errors of predictions beyond the rounding of the data, over the measured times."""
        difference = predicted - self.measured_s
        beyond = np.maximum(np.abs(difference) - self.half_width_s, 0.0) / self.measured_s
        return np.asarray(np.copysign(beyond, difference))

    def points(
        self, predicted: FloatArray, others: Mapping[str, FloatArray] = MappingProxyType({})
    ) -> list[tuple[int, Point]]:
        """Order and point of every timing with those predictions.

        Args:
            others: predictions by other constants, by what these are.
        """
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
                    others={name: float(found[row]) for name, found in others.items()},
                ),
            )
            for row, (timing, seconds) in enumerate(zip(self.timings, predicted, strict=True))
        ]


def predictions(sweeps: Iterable[Sweep], *, calibrated: bool) -> list[tuple[Sweep, FloatArray]]:
    """The sweeps with the seconds of their timings.

    Args:
        calibrated: with the fitted constants of the catalogue, else from the priors alone.
    """
    clusters: dict[Machine, Cluster] = {}
    found: list[tuple[Sweep, FloatArray]] = []
    for sweep in sweeps:
        if sweep.machine not in clusters:
            clusters[sweep.machine] = cluster_of(sweep.machine, calibrated=calibrated)
        found.append((sweep, sweep.predicted(clusters[sweep.machine])))
    return found


def predicted_points(sweeps: Iterable[Sweep], *, calibrated: bool) -> list[tuple[int, Point]]:
    """Order and point of every timing of the sweeps; ``calibrated`` as in ``predictions``."""
    return [
        point
        for sweep, seconds in predictions(sweeps, calibrated=calibrated)
        for point in sweep.points(seconds)
    ]


def sorted_points(found: Sequence[tuple[int, Point]]) -> tuple[Point, ...]:
    """The points in the order of the files."""
    return tuple(point for _, point in sorted(found, key=lambda item: item[0]))
