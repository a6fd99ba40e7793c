"""The CSV table of collectives on named node types, as points."""

from __future__ import annotations

import numpy as np

from planner.costs.collectives import Collective, collective_named
from planner.errors import PlannerError
from planner.validation.collectives.machines import Machine, Machines, cluster_of, load_machines, node_named
from planner.validation.collectives.pricing import band_of, price
from planner.validation.csv_rows import CsvRows
from planner.validation.points import Comparison, Point, printed_half_width

Sweep = tuple[str, str, int, int]

LAUNCH_SKEW_S = 30e-6
"""How late the last rank's launch may come: a kernel that is launched by itself on every rank, as a profiler's loop does, waits for
the others, however small its buffer. In a step the launches queue up ahead of the device, so no step pays it."""


def compare_nvlink_rows(rows: CsvRows) -> Comparison:
    """Every row against the collective model; the network between nodes is that of the reference node.

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
        points |= _sweep_points(rows, chosen, sweep, machine, apart)
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


def _sweep_points(
    rows: CsvRows, chosen: list[int], sweep: Sweep, machine: Machine, apart: str | None
) -> dict[int, Point]:
    collective: Collective = collective_named(sweep[1])
    sizes = [float(rows.columns["bytes"][row]) for row in chosen]
    times = [rows.columns["time_us"][row] * 1e-6 for row in chosen]
    half_width_s = printed_half_width(rows.columns["time_us"]) * 1e-6
    predicted = price(collective, sizes, machine.ranks, cluster_of(machine)).seconds
    if collective != "send_recv":  # a sender is done when its message has left
        predicted = np.maximum(predicted, LAUNCH_SKEW_S)
    return {
        row: Point(
            id=f"{rows.file.name}:{rows.lines[row]}",
            labels={
                "family": sweep[0],
                "accelerator": machine.accelerator,
                "operator": collective,
                "ranks": machine.ranks,
                "nodes": machine.nodes,
                "network": machine.outermost,
                "band": band_of(nbytes),
            },
            subject=f"{nbytes:,.0f} bytes",
            measured_s=time,
            half_width_s=half_width_s,
            predicted_s=float(seconds),
            apart=apart,
        )
        for row, nbytes, time, seconds in zip(chosen, sizes, times, predicted, strict=True)
    }
