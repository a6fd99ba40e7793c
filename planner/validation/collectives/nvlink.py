"""The CSV table of collectives on named node types, as points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import Collective, collective_named
from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.validation.collectives.machines import Machine, Machines, cluster_of, load_machines, node_named
from planner.validation.collectives.pricing import band_of, price
from planner.validation.csv_rows import CsvRows
from planner.validation.points import Comparison, Point, printed_half_width

Sweep = tuple[str, str, int, int]

LAUNCH_SKEW_S = 30e-6
"""How late the last rank's launch may come: a kernel that is launched by itself on every rank, as a profiler's loop does,
waits for the others, however small its buffer. In a step the launches queue up ahead of the device, so no step pays it."""


def compare_nvlink_rows(rows: CsvRows, *, calibrated: bool = True) -> Comparison:
    """Every row against the collective model; the network between nodes is that of the reference node.

    Args:
        calibrated: with the fitted constants of the catalogue, else from the priors alone.

    Raises:
        PlannerError: an unknown node, ranks that do not fill its nodes.
    """
    machines = load_machines()
    sweeps: dict[Sweep, list[int]] = {}
    keys = zip(
        *(rows.columns[name] for name in ("node", "collective", "ranks", "ranks_per_node")), strict=True
    )
    for row, key in enumerate(keys):
        sweeps.setdefault(key, []).append(row)
    points: dict[int, Point] = {}
    assumed: dict[str, str] = {}
    for sweep, chosen in sweeps.items():
        machine = _machine(rows, chosen[0], machines)
        if machine.assumed is not None:
            assumed[sweep[0]] = machine.assumed
        apart = machine.assumed or machines.doubts.get(f"{sweep[0]}/{sweep[1]}")
        predicted = _predicted(rows, chosen, sweep[1], cluster_of(machine, calibrated=calibrated))
        points |= _sweep_points(rows, chosen, predicted, machine, apart)
    return Comparison(tuple(points[row] for row in sorted(points)), assumed)


def _machine(rows: CsvRows, row: int, machines: Machines) -> Machine:
    ranks, per_node = rows.columns["ranks"][row], rows.columns["ranks_per_node"][row]
    try:
        accelerator, node = node_named(rows.columns["node"][row], machines)
    except PlannerError as error:
        raise rows.fault(row, "node", error.message) from None
    if ranks % per_node or per_node > node.devices:
        raise rows.fault(
            row,
            "ranks_per_node",
            f"found {ranks} ranks with {per_node} per node; a divisor of the ranks of at most {node.devices}"
            " is accepted",
        )
    nodes = ranks // per_node
    assumed = f"network not stated: {node.outside}" if nodes > 1 else None
    return Machine(accelerator, node, nodes, per_node, assumed=assumed)


def _predicted(rows: CsvRows, chosen: list[int], name: str, cluster: Cluster) -> NDArray[np.float64]:
    collective: Collective = collective_named(name)
    sizes = [float(rows.columns["bytes"][row]) for row in chosen]
    seconds = price(collective, sizes, rows.columns["ranks"][chosen[0]], cluster).seconds
    # a sender is done when its message has left
    return seconds if collective == "send_recv" else np.maximum(seconds, LAUNCH_SKEW_S)


def _sweep_points(
    rows: CsvRows, chosen: list[int], predicted: NDArray[np.float64], machine: Machine, apart: str | None
) -> dict[int, Point]:
    half_width_s = printed_half_width(rows.columns["time_us"]) * 1e-6
    return {
        row: Point(
            id=f"{rows.file.name}:{rows.lines[row]}",
            labels={
                "family": rows.columns["node"][row],
                "accelerator": machine.accelerator,
                "operator": rows.columns["collective"][row],
                "ranks": machine.ranks,
                "nodes": machine.nodes,
                "network": machine.outermost,
                "band": band_of(rows.columns["bytes"][row]),
            },
            subject=f"{rows.columns['bytes'][row]:,} bytes",
            measured_s=rows.columns["time_us"][row] * 1e-6,
            half_width_s=half_width_s,
            predicted_s=float(seconds),
            apart=apart,
        )
        for row, seconds in zip(chosen, predicted, strict=True)
    }
