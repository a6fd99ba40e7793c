"""Constants of a network from its measured collectives."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from planner.calibration.fit.collectives import Priced, fit_priced
from planner.calibration.fit.digest import data_digest
from planner.calibration.measure.record import read_record
from planner.calibration.measure.residuals import MeasuredFit, Residual
from planner.errors import PlannerError
from planner.hardware.calibration import alone, calibrated_level
from planner.hardware.calibration_files import Calibration
from planner.hardware.loader import load_cluster
from planner.hardware.types import Cluster
from planner.layouts.mesh import spread
from planner.validation.collectives.machines import InsideLevel, Machine, Node
from planner.validation.collectives.pricing import band_of
from planner.validation.collectives.sweeps import Sweep, Timing


def fit_network(record: Path, *, name: str = "own network") -> MeasuredFit:
    """The constants of the kinds of network that a file of measurements crosses.

    Raises:
        PlannerError: the file is missing or holds something else, or too few points for a fit.
    """
    machine, points = read_record(record, "points")
    cluster = alone(load_cluster(_described(record), calibrated=False))
    host, own = str(machine["host"]), machine["backend"] == "gloo"
    parts = [_priced(list(members), cluster, host, own=own) for members in _sweeps(points)]
    fitted = fit_priced(parts)
    if not fitted:
        raise PlannerError("holds too few points to fit a kind of network", file=record, field="points")
    calibration = Calibration(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        data="network",
        data_sha256=data_digest([record]),
        rows=len(points),
        provenance={"network": ", ".join(f"{key} {value}" for key, value in machine.items())},
        networks=fitted,
    )
    return MeasuredFit(calibration, _residuals(parts, cluster, calibration, points))


def _described(record: Path) -> Any:
    from planner.documents.bulk import load_bulk

    found = load_bulk(record).data.get("cluster")
    if not isinstance(found, str | Mapping):
        raise PlannerError("says of no cluster which it measured", file=record, field="cluster")
    return found


def _sweeps(points: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Points of one collective over groups of one size."""

    def key(point: Mapping[str, Any]) -> tuple[str, int]:
        return str(point["collective"]), int(point["ranks"])

    return [list(members) for _, members in groupby(sorted(points, key=key), key=key)]


def _priced(points: list[Mapping[str, Any]], cluster: Cluster, host: str, *, own: bool) -> Priced:
    ranks, collective = int(points[0]["ranks"]), points[0]["collective"]
    node = Node(devices=ranks, inside=(InsideLevel(kind=cluster.network[0].kind or "loopback"),), outside="")
    timings = tuple(
        Timing(
            order=index,
            id=f"{collective} {ranks} {point['bytes']}",
            subject=f"{ranks} ranks, {int(point['bytes']):,} bytes",
            band=band_of(float(point["bytes"])),
            nbytes=float(point["bytes"]),
            measured_s=float(point["time_us"]) * 1e-6,
            half_width_s=0.0,
        )
        for index, point in enumerate(points)
    )
    labels = {"family": host, "accelerator": cluster.accelerator.name, "operator": str(collective)}
    sweep = Sweep(
        labels,
        Machine(cluster.accelerator.name, node, 1, ranks),
        collective,
        "auto",
        None,
        0.0,
        None,
        timings,
    )
    members = spread(ranks, 1, cluster, devices=ranks).ranks_per_level[0]
    return Priced(sweep, cluster, tuple(int(level) for level in np.flatnonzero(members > 1)), own=own)


def _residuals(
    parts: Sequence[Priced], cluster: Cluster, calibration: Calibration, points: Sequence[Mapping[str, Any]]
) -> tuple[Residual, ...]:
    noisy = {
        f"{point['collective']} {point['ranks']} {point['bytes']}": bool(point["noisy"]) for point in points
    }
    levels = tuple(calibrated_level(level, calibration)[0] for level in cluster.network)
    fitted = replace(cluster, network=levels)
    return tuple(
        Residual(
            f"{part.sweep.collective}, {part.sweep.machine.ranks} ranks",
            timing.subject,
            timing.measured_s,
            float(seconds),
            noisy[timing.id],
        )
        for part in parts
        for timing, seconds in zip(part.sweep.timings, part.sweep.predicted(fitted), strict=True)
    )
