"""Files of published collectives to points with predictions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from planner.costs.collectives import DEVICE_INITIATED, Collective, collective_named
from planner.documents import load_document
from planner.documents.reading import read_text
from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.validation.collectives.csv_table import NVLINK
from planner.validation.collectives.machines import Machine, Machines, cluster_of, load_machines
from planner.validation.collectives.nvlink import compare_nvlink_rows
from planner.validation.collectives.pricing import PLATEAU, PLATEAU_BYTES, band_of, price
from planner.validation.collectives.published import (
    MOE,
    ON_BOTTLENECK,
    PublishedPoint,
    is_published,
    published_points,
)
from planner.validation.collectives.words import machine_in
from planner.validation.csv_rows import header_of, read_rows
from planner.validation.files import measurement_files
from planner.validation.points import Comparison, Point, joined

Progress = Callable[[float, str], None]

HOST_LAUNCH_S = 15e-6
"""What a benchmark that is timed from PyTorch adds to every call: the host launches a kernel in 10-30 us."""

_FROM_PYTORCH = re.compile(r"bench\.py|torch", re.IGNORECASE)


def compare_collectives(
    paths: Sequence[str | Path],
    progress: Progress = lambda done, what: None,
    *,
    calibrated: bool = True,
) -> Comparison:
    """All points of the files against the collective model.

    Args:
        paths: YAML files of published points, CSV tables, or folders of them.
        calibrated: with the fitted constants of the catalogue, else from the priors alone.

    Raises:
        PlannerError: a file that cannot be read or is of another format, a wrong cell, an unknown collective or node.
    """
    what = "published collectives (.yaml) or tables of collectives (.csv)"
    files = measurement_files(paths, (".yaml", ".yml", ".csv"), what, wanted=_is_collectives)
    parts = []
    for index, file in enumerate(files):
        progress(index / len(files), f"collectives of {file.name}")
        if file.suffix == ".csv":
            rows = read_rows(file, {"collectives": NVLINK})
            parts.append(compare_nvlink_rows(rows, calibrated=calibrated))
        else:
            parts.append(_compare_published(published_points(load_document(file)), calibrated=calibrated))
    return joined(parts)


def _is_collectives(file: Path) -> bool:
    if file.suffix == ".csv":
        return sorted(header_of(file)) == sorted(NVLINK)
    return is_published(read_text(file))


def _compare_published(published: Sequence[PublishedPoint], *, calibrated: bool) -> Comparison:
    machines = load_machines()
    clusters: dict[Machine, Cluster] = {}
    assumed: dict[str, str] = {}
    points = []
    for point in published:
        try:
            machine = _machine(point, machines)
            cluster = clusters.get(machine) or cluster_of(machine, calibrated=calibrated)
            points.append(_point(point, machine, cluster))
        except PlannerError as error:
            points.append(_refused(point, error.message))
            continue
        clusters[machine] = cluster
        if machine.assumed is not None:
            assumed[point.entry.source] = machine.assumed
    return Comparison(tuple(points), assumed)


def _machine(point: PublishedPoint, machines: Machines) -> Machine:
    entry, source = point.entry, point.source
    words = "; ".join(text for text in (entry.hw, entry.arch, source.hw) if text)
    note = machines.sources.get(entry.source)
    return machine_in(words, entry.ranks, entry.nodes or source.nodes, machines, note)


def _refused(point: PublishedPoint, reason: str) -> Point:
    entry = point.entry
    labels: dict[str, str | int] = {
        "family": entry.source,
        "accelerator": "unknown",
        "operator": entry.collective,
        "ranks": entry.ranks,
        "nodes": 0,
        "network": "unknown",
        "band": _band(point),
    }
    nbytes = float(entry.bytes or PLATEAU_BYTES)
    measured_s = None if entry.measured in ON_BOTTLENECK else point.seconds(nbytes)
    return Point(entry.id, labels, _subject(point), measured_s, 0.0, None, reason, point.source.doubt)


def _point(point: PublishedPoint, machine: Machine, cluster: Cluster) -> Point:
    """The point with its prediction.

    Raises:
        PlannerError: the algorithm cannot run there, or the rate is that of a level that carries nothing.
    """
    entry = point.entry
    algorithm = _algorithm(entry.algorithm)
    collective: Collective = "all_to_all" if entry.collective in MOE else collective_named(entry.collective)
    nbytes = float(entry.bytes or PLATEAU_BYTES)
    constants = DEVICE_INITIATED if "deepep" in point.source.tool.lower() else None
    cost = price(collective, [nbytes], machine.ranks, cluster, algorithm, constants)
    measured_s = (
        _bottleneck_seconds(point, cost.bytes_per_level[0])
        if entry.measured in ON_BOTTLENECK
        else point.seconds(nbytes)
    )
    launch = HOST_LAUNCH_S if _FROM_PYTORCH.search(point.source.tool) else 0.0
    return Point(
        id=entry.id,
        labels={
            "family": entry.source,
            "accelerator": machine.accelerator,
            "operator": entry.collective if algorithm == "auto" else f"{entry.collective} ({algorithm})",
            "ranks": machine.ranks,
            "nodes": machine.nodes,
            "network": machine.outermost,
            "band": _band(point),
        },
        subject=_subject(point),
        measured_s=measured_s,
        half_width_s=measured_s * point.relative_half_width,
        predicted_s=float(cost.seconds[0]) + launch,
        apart=point.source.doubt or machine.assumed or (None if entry.bytes else "size not printed"),
    )


def _bottleneck_seconds(point: PublishedPoint, loads: np.ndarray) -> float:
    """Time from a rate on the bottleneck: bytes that the level carries for one device, over that rate."""
    entry = point.entry
    rate = (entry.bottleneck_GBps or entry.rdma_GBps or 0.0) * 1e9
    level = 0 if "nvlink" in entry.bottleneck.lower() else len(loads) - 1
    if loads[level] <= 0:
        raise PlannerError("the rate of a level that the group does not use")
    return float(loads[level]) / rate


def _algorithm(words: str) -> str:
    plain = words.lower()
    if re.search(r"^(nvls|collnet|sharp)", plain):
        return "in_network"
    return next((name for name in ("ring", "tree") if plain.startswith(name)), "auto")


def _band(point: PublishedPoint) -> str:
    return PLATEAU if point.entry.bytes is None else band_of(point.entry.bytes)


def _subject(point: PublishedPoint) -> str:
    return "no size printed" if point.entry.bytes is None else f"{point.entry.bytes:,} bytes"
