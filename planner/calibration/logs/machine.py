"""The cluster that a benchmark ran on: the user's, cut to the ranks that took part, or the one that the log names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from planner.calibration.logs.benchmark import Benchmark
from planner.calibration.logs.identify import Identity
from planner.errors import PlannerError
from planner.hardware.calibration import alone
from planner.hardware.types import Cluster, NetworkLevel
from planner.validation.collectives.machines import InsideLevel, Machine, Node, cluster_of, load_machines
from planner.validation.collectives.words import machine_in
from planner.validation.devices import accelerator_in

MOST_DEVICES_IN_A_NODE = 8
"""Ranks that are taken for one node where neither log nor cluster says how many a node has."""


@dataclass(frozen=True)
class Place:
    """Where a test ran.

    Args:
        cluster: of its ranks alone on the network, with the constants of the catalogue or of the cluster's own file.
        words: the machine as published tables describe it.
        notes: what was assumed.
    """

    machine: Machine
    cluster: Cluster
    words: str
    notes: tuple[str, ...] = ()


def place_of(test: Benchmark, found: Identity, cluster: Cluster | None, per_node: int | None) -> Place:
    """The place of a test.

    Args:
        cluster: the user's; None to go by what the log says of its devices.
        per_node: ranks per node as the user says.

    Raises:
        PlannerError: ranks that the nodes cannot hold, no device that the catalogue knows.
    """
    fault = partial(PlannerError, file=test.file, line=test.line)
    each = per_node or test.facts.listed_per_node
    notes: tuple[str, ...] = ()
    if each is None:
        each = min(found.ranks, cluster.devices_per_node if cluster else MOST_DEVICES_IN_A_NODE)
        if found.ranks > 1:
            notes = (f"{each} ranks per node, which the log does not say (--ranks-per-node)",)
    each = min(each, found.ranks)
    if found.ranks % each:
        raise fault(
            f"{found.ranks} ranks with {each} per node leave a node half empty", field="--ranks-per-node"
        )
    try:
        if cluster is not None:
            return _on_cluster(cluster, found.ranks, each, notes)
        return _by_words(test, found.ranks, each, notes)
    except PlannerError as error:
        raise fault(error.message, field=error.field) from None


def _on_cluster(cluster: Cluster, ranks: int, each: int, notes: tuple[str, ...]) -> Place:
    if each > cluster.devices_per_node:
        raise PlannerError(
            f"{each} ranks per node do not fit on the {cluster.devices_per_node} devices of a node of {cluster.name}"
        )
    if ranks // each > cluster.nodes:
        raise PlannerError(
            f"{ranks // each} nodes took part, but {cluster.name} has {cluster.nodes}", field="--cluster"
        )
    used = alone(_cut(cluster, each))
    inside = [level for level in used.network if level.size <= each] or list(used.network[:1])
    outer = [level for level in used.network if level.size >= ranks] or list(used.network[-1:])
    node = Node(
        devices=each,
        inside=tuple(InsideLevel(kind=level.kind or level.name, size=level.size) for level in inside),
        outside=outer[0].kind or outer[0].name,
    )
    machine = Machine(cluster.accelerator.name, node, ranks // each, each)
    return Place(machine, used, _words(machine, outer[0] if machine.nodes > 1 else None), notes)


def _cut(cluster: Cluster, each: int) -> Cluster:
    """The cluster as if its nodes held only so many devices, each with the links that it has."""
    full = cluster.devices_per_node
    if each == full:
        return cluster
    levels = [_cut_level(level, each, full) for level in cluster.network]
    kept = [
        level for index, level in enumerate(levels) if level.size > (levels[index - 1].size if index else 1)
    ]
    return replace(cluster, devices_per_node=each, network=tuple(kept or levels[:1]))


def _cut_level(level: NetworkLevel, each: int, full: int) -> NetworkLevel:
    if level.size > full:
        return replace(level, size=max(level.size // full * each, 1))
    size = min(level.size, each)
    if level.fabric != "full_mesh" or level.per_flow_bandwidth is not None:
        return replace(level, size=size)
    return replace(level, size=size, per_flow_bandwidth=level.bandwidth / max(level.size - 1, 1))


def _by_words(test: Benchmark, ranks: int, each: int, notes: tuple[str, ...]) -> Place:
    device = test.facts.device
    accelerator = accelerator_in(device) if device else None
    if accelerator is None:
        shown = f"'{device[:40]}' is no device of the catalogue" if device else "the log names no device"
        raise PlannerError(f"{shown}; state where it ran", field="--cluster")
    machines, nodes = load_machines(), ranks // each
    words = f"{nodes} nodes x {each} {device}" if nodes > 1 else f"{each}x {device}"
    if nodes > 1 and test.facts.over_efa:
        rented = [name for name, found in machines.instances.items() if found.accelerator == accelerator]
        words += f", {rented[0]} with EFA" if rented else ", EFA"
    machine = machine_in(words, ranks, nodes, machines)
    if machine.assumed is not None:
        notes = (*notes, f"{machine.assumed} (--cluster states it)")
    return Place(machine, cluster_of(machine), words, notes)


def _words(machine: Machine, outer: NetworkLevel | None) -> str:
    count = (
        f"{machine.nodes} nodes x {machine.ranks_per_node}"
        if machine.nodes > 1
        else f"{machine.ranks_per_node}x"
    )
    cards = f", {outer.kind or outer.name} {outer.bandwidth / 1e9:g} GB/s per GPU" if outer else ""
    return f"{count} {machine.accelerator}{cards}"
