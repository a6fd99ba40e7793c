"""Tests of logs as sweeps that are priced, fitted and written as points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.collectives import Priced
from planner.calibration.logs.benchmark import Benchmark
from planner.calibration.logs.identify import Identity
from planner.calibration.logs.machine import Place
from planner.calibration.logs.rows import Row, Timed
from planner.hardware.calibration import with_link
from planner.hardware.calibration_files import CalibratedScope
from planner.layouts.mesh import spread
from planner.validation.collectives.pricing import band_of
from planner.validation.collectives.sweeps import Sweep, Timing

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LoggedTest:
    """One test with all that is known of it.

    Args:
        timed: row and placement of every timing of the sweep, in its order.
        apart: why it is not fitted, None where it is.
        notes: what was concluded, assumed and left out.
    """

    benchmark: Benchmark
    identity: Identity
    place: Place
    sweep: Sweep
    timed: tuple[tuple[Row, Timed], ...]
    apart: str | None
    notes: tuple[str, ...] = field(default=())

    @property
    def priced(self) -> Priced:
        """The sweep on its cluster, whose constants are where a fit begins."""
        ranks = self.place.machine.ranks
        members = spread(ranks, 1, self.place.cluster, devices=ranks).ranks_per_level[0]
        crossed = tuple(int(index) for index in np.flatnonzero(members > 1))
        return Priced(self.sweep, self.place.cluster, crossed)

    def predicted(self, networks: Mapping[str, CalibratedScope]) -> FloatArray:
        """Seconds of every timing with fitted constants of some kinds of network in place of the catalogue's."""
        cluster = self.place.cluster
        levels = []
        for level in cluster.network:
            scope = networks.get(level.kind or "")
            values = {} if scope is None else {name: found.value for name, found in scope.constants.items()}
            levels.append(with_link(level, values))
        return self.sweep.predicted(replace(cluster, network=tuple(levels)))


def logged_test(index: int, benchmark: Benchmark, identity: Identity, place: Place) -> LoggedTest:
    """One test as a sweep.

    Args:
        index: its place among all tests.
    """
    machine = place.machine
    timed = [(row, found) for row in identity.rows for found in row.timed if not _wrong(found)]
    wrong = sum(_wrong(found) for row in identity.rows for found in row.timed)
    notes = (*identity.notes, *place.notes, *([f"{wrong} timings with wrong results"] if wrong else []))
    apart = machine.assumed
    if benchmark.facts.groups > 1:
        apart = f"{benchmark.facts.groups} groups at the same time"
    timings = tuple(
        Timing(
            order=order,
            id=f"{benchmark.file.name}:{row.line} {found.placement}",
            subject=f"{row.size:,} bytes",
            band=band_of(row.size),
            nbytes=float(row.size),
            measured_s=found.time_us * 1e-6,
            half_width_s=0.5e-6 * found.time_digit_us,
        )
        for order, (row, found) in enumerate(timed)
    )
    sweep = Sweep(
        labels={
            "family": f"{benchmark.file.stem}-{index + 1}",
            "accelerator": machine.accelerator,
            "operator": identity.collective,
            "ranks": machine.ranks,
            "nodes": machine.nodes,
            "network": machine.outermost,
        },
        machine=machine,
        collective=identity.collective,
        algorithm="auto",
        constants=None,
        launch_s=0.0,
        apart=apart,
        timings=timings,
    )
    return LoggedTest(benchmark, identity, place, sweep, tuple(timed), apart, notes)


def _wrong(timed: Timed) -> bool:
    """Whether results were wrong: newer versions count elements, older ones print the largest error."""
    return timed.wrong is not None and timed.wrong >= 1.0


def points_document(tests: Sequence[LoggedTest]) -> dict[str, Any]:
    """The timings in the format of published points (docs/validation-points.md)."""
    sources = {
        str(test.sweep.labels["family"]): {
            "ref": str(test.benchmark.file),
            "tool": "nccl-tests log",
            "hw": test.place.words,
            "nodes": test.place.machine.nodes,
        }
        for test in tests
    }
    return {"sources": sources, "points": list(_points(tests))}


def _points(tests: Iterable[LoggedTest]) -> Iterable[dict[str, Any]]:
    for test in tests:
        source = str(test.sweep.labels["family"])
        for order, (row, timed) in enumerate(test.timed):
            yield {
                "id": f"{source}-{order + 1}",
                "source": source,
                "collective": test.sweep.collective,
                "ranks": test.place.machine.ranks,
                "nodes": test.place.machine.nodes,
                "bytes": row.size,
                "time_us": timed.time_us,
                "algorithm": "",
            }
