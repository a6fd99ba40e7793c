"""The CSV table of collectives on named node types, as sweeps."""

from __future__ import annotations

from planner.costs.collectives import collective_named
from planner.errors import PlannerError
from planner.validation.collectives.machines import Machine, Machines, load_machines, node_named
from planner.validation.collectives.pricing import band_of
from planner.validation.collectives.sweeps import Sweep, Timing, predicted_points, sorted_points
from planner.validation.csv_rows import CsvRows
from planner.validation.points import Comparison, printed_half_width

ONE_SIDED = "send_recv"
"""Whose sender leaves its bytes in buffers of the receiver and does not wait."""

HOST_ISSUE_S = 30e-6
"""Time from one call to the next on the host of such a table, the upper end of the 10-30 us of a launch for calls that a
profiler watches. Each time is the median kernel of eleven collectives that PyTorch launches one after the other, as rank 0's
profiler sees them (microsoft/vidur, vidur/profiling/collectives): where another rank's host is behind, kernels of rank 0 begin at
once and end when that rank's do, one call apart."""


def compare_nvlink_rows(rows: CsvRows, *, calibrated: bool = True) -> Comparison:
    """Every row against the collective model.

    Args:
        calibrated: with the fitted constants of the catalogue, else from the priors alone.

    Raises:
        PlannerError: an unknown node, ranks that do not fill its nodes.
    """
    sweeps = nvlink_sweeps(rows)
    return Comparison(sorted_points(predicted_points(sweeps, calibrated=calibrated)), assumptions_of(sweeps))


def nvlink_sweeps(rows: CsvRows) -> list[Sweep]:
    """The sweeps of a table; the network between nodes is that of the reference node.

    Raises:
        PlannerError: an unknown node, ranks that do not fill its nodes.
    """
    machines = load_machines()
    half_width_s = printed_half_width(rows.columns["time_us"]) * 1e-6
    chosen: dict[tuple[str, str, int, int], list[int]] = {}
    keys = zip(
        *(rows.columns[name] for name in ("node", "collective", "ranks", "ranks_per_node")), strict=True
    )
    for row, key in enumerate(keys):
        chosen.setdefault(key, []).append(row)
    return [
        _sweep(rows, members, _machine(rows, members[0], machines), machines, half_width_s)
        for members in chosen.values()
    ]


def assumptions_of(sweeps: list[Sweep]) -> dict[str, str]:
    """By family: what its source leaves open of the network behind the card."""
    return {
        str(sweep.labels["family"]): sweep.machine.assumed
        for sweep in sweeps
        if sweep.machine.assumed is not None
    }


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


def _sweep(
    rows: CsvRows, members: list[int], machine: Machine, machines: Machines, half_width_s: float
) -> Sweep:
    node, name = rows.columns["node"][members[0]], rows.columns["collective"][members[0]]
    return Sweep(
        labels={
            "family": node,
            "accelerator": machine.accelerator,
            "operator": name,
            "ranks": machine.ranks,
            "nodes": machine.nodes,
            "network": machine.outermost,
        },
        machine=machine,
        collective=collective_named(name),
        algorithm="auto",
        constants=None,
        launch_s=0.0,
        issue_s=0.0 if name == ONE_SIDED else HOST_ISSUE_S,
        apart=machine.assumed or machines.doubt(node, name, machine.nodes),
        timings=tuple(
            Timing(
                order=row,
                id=f"{rows.file.name}:{rows.lines[row]}",
                subject=f"{rows.columns['bytes'][row]:,} bytes",
                band=band_of(rows.columns["bytes"][row]),
                nbytes=float(rows.columns["bytes"][row]),
                measured_s=rows.columns["time_us"][row] * 1e-6,
                half_width_s=half_width_s,
            )
            for row in members
        ),
    )
