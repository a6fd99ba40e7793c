"""Published points as sweeps: the machine of each, what it measured, and what the model cannot price."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from planner.costs.collectives import DEVICE_INITIATED, Collective, collective_named
from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.validation.collectives.machines import Machine, Machines, cluster_of, load_machines
from planner.validation.collectives.pricing import PLATEAU, PLATEAU_BYTES, band_of, price
from planner.validation.collectives.published import MOE, ON_BOTTLENECK, PublishedPoint
from planner.validation.collectives.sweeps import Sweep, Timing
from planner.validation.collectives.words import machine_in
from planner.validation.points import Point

HOST_LAUNCH_S = 15e-6
"""What a benchmark that is timed from PyTorch adds to every call: the host launches a kernel in 10-30 us."""

_FROM_PYTORCH = re.compile(r"bench\.py|torch", re.IGNORECASE)


def published_sweeps(published: Sequence[PublishedPoint]) -> tuple[list[Sweep], list[tuple[int, Point]]]:
    """Sweeps of the points, and the points that are refused, each with its place among all."""
    machines = load_machines()
    found: dict[tuple[object, ...], tuple[Sweep, list[Timing]]] = {}
    clusters: dict[Machine, Cluster] = {}
    refused: list[tuple[int, Point]] = []
    for order, point in enumerate(published):
        try:
            machine = _machine(point, machines)
            if machine not in clusters:
                clusters[machine] = cluster_of(machine, calibrated=False)
            sweep = _empty_sweep(point, machine)
            timing = _timing(order, point, sweep, clusters[machine])
        except PlannerError as error:
            refused.append((order, _refused(point, error.message)))
            continue
        key = (*sweep.labels.items(), machine, sweep.algorithm, sweep.apart)
        found.setdefault(key, (sweep, []))[1].append(timing)
    return [replace(sweep, timings=tuple(timings)) for sweep, timings in found.values()], refused


def _machine(point: PublishedPoint, machines: Machines) -> Machine:
    entry, source = point.entry, point.source
    words = "; ".join(text for text in (entry.hw, entry.arch, source.hw) if text)
    note = machines.sources.get(entry.source)
    return machine_in(words, entry.ranks, entry.nodes or source.nodes, machines, note)


def _empty_sweep(point: PublishedPoint, machine: Machine) -> Sweep:
    """The sweep that a point belongs to, without its timings."""
    entry, source = point.entry, point.source
    algorithm = _algorithm(entry.algorithm)
    collective: Collective = "all_to_all" if entry.collective in MOE else collective_named(entry.collective)
    return Sweep(
        labels={
            "family": entry.source,
            "accelerator": machine.accelerator,
            "operator": entry.collective if algorithm == "auto" else f"{entry.collective} ({algorithm})",
            "ranks": machine.ranks,
            "nodes": machine.nodes,
            "network": machine.outermost,
        },
        machine=machine,
        collective=collective,
        algorithm=algorithm,
        constants=DEVICE_INITIATED if "deepep" in source.tool.lower() else None,
        launch_s=HOST_LAUNCH_S if _FROM_PYTORCH.search(source.tool) else 0.0,
        apart=source.doubt or machine.assumed or (None if entry.bytes else "size not printed"),
        timings=(),
    )


def _timing(order: int, point: PublishedPoint, sweep: Sweep, cluster: Cluster) -> Timing:
    """The point as a timing of its sweep.

    Raises:
        PlannerError: the algorithm cannot run there, or the rate is that of a level that carries nothing.
    """
    entry = point.entry
    nbytes = float(entry.bytes or PLATEAU_BYTES)
    cost = price(sweep.collective, nbytes, sweep.machine.ranks, cluster, sweep.algorithm, sweep.constants)
    measured_s = (
        _bottleneck_seconds(point, cost.bytes_per_level[0])
        if entry.measured in ON_BOTTLENECK
        else point.seconds(nbytes)
    )
    return Timing(
        order=order,
        id=entry.id,
        subject=_subject(point),
        band=_band(point),
        nbytes=nbytes,
        measured_s=measured_s,
        half_width_s=measured_s * point.relative_half_width,
    )


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
