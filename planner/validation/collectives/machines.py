"""Clusters of published timings: packaged node descriptions turned into the catalogue's levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from planner.documents import load_document, validate
from planner.errors import PlannerError, suggest
from planner.hardware.calibration import alone
from planner.hardware.loader import load_cluster
from planner.hardware.types import Cluster, NetworkLevel


class Strict(BaseModel):
    """No key but the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class InsideLevel(Strict):
    """One level of a node: a kind of the catalogue, with its own rate where boards of that kind differ."""

    kind: str
    size: int | None = None
    bandwidth_GBps: float | None = None


class Node(Strict):
    """One node: devices, the levels that join them, the card of each."""

    devices: int
    inside: tuple[InsideLevel, ...]
    outside: str


class Instance(Strict):
    """A rented machine."""

    accelerator: str
    outside: str


class SourceNote(Strict):
    """What is known of one source beyond its words."""

    reason: str
    accelerator: str | None = None
    devices: int | None = None
    outside: str | None = None


class Machines(Strict):
    """The packaged table; nodes.yaml says what each part is."""

    reference_nodes: dict[str, Node]
    pairwise_nvlink: dict[str, Node]
    instances: dict[str, Instance]
    networks: dict[str, str]
    sources: dict[str, SourceNote]
    doubts: dict[str, str]

    def reference(self, accelerator: str) -> Node:
        """The common node of an accelerator.

        Raises:
            PlannerError: the table has none, as for devices that are joined to tori of any shape.
        """
        if accelerator not in self.reference_nodes:
            raise PlannerError(f"no reference node is known for {accelerator}")
        return self.reference_nodes[accelerator]

    def doubt(self, node: str, collective: str, nodes: int) -> str | None:
        """Why a sweep of a table is scored apart, None where nothing contradicts its label."""
        return self.doubts.get(f"{node}/{collective}") if nodes == 1 else None


@dataclass(frozen=True)
class Machine:
    """Where a collective ran.

    Args:
        accelerator: catalogue name.
        node: its node.
        nodes, ranks_per_node: of the group.
        card_rate: bytes/s of one device's share of the cards; None for the rate of the kind.
        assumed: what of the network behind the card the source does not say; None when it says all, or nothing leaves the
            node.
    """

    accelerator: str
    node: Node
    nodes: int
    ranks_per_node: int
    card_rate: float | None = None
    assumed: str | None = None

    @property
    def ranks(self) -> int:
        return self.nodes * self.ranks_per_node

    @property
    def outermost(self) -> str:
        """The network kind that the group's widest level is made of: the innermost that joins all its members."""
        if self.leaves_domain:
            return self.node.outside
        joining = (level for level in self.node.inside if (level.size or self.node.devices) >= self.ranks)
        return next(joining, self.node.inside[-1]).kind

    @property
    def leaves_domain(self) -> bool:
        """Whether the group is wider than what the node's own links join."""
        if self.domain > self.node.devices:
            return self.ranks > self.domain
        return self.nodes > 1

    @property
    def domain(self) -> int:
        """Devices that the outermost level inside joins."""
        return self.node.inside[-1].size or self.node.devices


def load_machines() -> Machines:
    """The packaged table."""
    file = Path(str(resources.files("planner.validation.collectives"))) / "nodes.yaml"
    return validate(load_document(file), Machines)


def cluster_of(machine: Machine, *, calibrated: bool = True) -> Cluster:
    """The cluster that holds the ranks of a machine and no more.

    Args:
        calibrated: with the fitted constants of the catalogue, else from the priors alone.

    Raises:
        PlannerError: more ranks in a node than it has devices, or a rack that the ranks do not fill evenly.
    """
    node, domain = machine.node, machine.domain
    if machine.ranks_per_node > node.devices:
        raise PlannerError(
            f"{machine.ranks_per_node} ranks in a node of {node.devices} {machine.accelerator} do not fit"
        )
    if machine.leaves_domain and domain > node.devices and machine.ranks % domain:
        raise PlannerError(f"{machine.ranks} ranks do not fill domains of {domain}")
    full = alone(load_cluster(_description(machine), calibrated=calibrated))
    inside = [
        _with_rate(level, None if given.bandwidth_GBps is None else given.bandwidth_GBps * 1e9)
        for level, given in zip(full.network, node.inside, strict=False)
    ]
    if machine.nodes == 1 or domain > node.devices:
        levels = inside
    else:
        levels = [_cut(level, machine.ranks_per_node) for level in inside]
    if machine.leaves_domain:
        levels = [*levels, replace(_with_rate(full.network[-1], machine.card_rate), size=machine.ranks)]
    per_node = node.devices if machine.nodes == 1 else machine.ranks_per_node
    return replace(full, nodes=machine.nodes, devices_per_node=per_node, network=tuple(levels))


def _description(machine: Machine) -> Mapping[str, Any]:
    """The cluster of whole nodes, as a cluster file would write it."""
    node, domain = machine.node, machine.domain
    whole = machine.nodes * node.devices
    nodes = machine.nodes
    if domain > node.devices:
        racks = -(-whole // domain)
        nodes, whole = racks * domain // node.devices, racks * domain
    network = [
        {"name": f"inside {index}", "kind": level.kind, "size": level.size or node.devices}
        for index, level in enumerate(node.inside)
    ]
    if whole > domain:
        network.append({"name": "outside", "kind": node.outside, "size": whole})
    return {
        "accelerator": machine.accelerator,
        "nodes": nodes,
        "devices_per_node": node.devices,
        "network": network,
    }


def _with_rate(level: NetworkLevel, rate: float | None) -> NetworkLevel:
    if rate is None:
        return level
    flow = level.per_flow_bandwidth
    return replace(level, bandwidth=rate, per_flow_bandwidth=None if flow is None else min(flow, rate))


def _cut(level: NetworkLevel, devices: int) -> NetworkLevel:
    """A level of which a node uses only some devices; the links between those stay what they are."""
    size = min(level.size, devices)
    if level.fabric != "full_mesh" or level.per_flow_bandwidth is not None:
        return replace(level, size=size)
    return replace(level, size=size, per_flow_bandwidth=level.bandwidth / max(level.size - 1, 1))


def node_named(name: str, machines: Machines) -> tuple[str, Node]:
    """The accelerator and the node of a name such as ``a100_dgx`` or ``h100_pairwise_nvlink``.

    Raises:
        PlannerError: unknown accelerator, or a kind of node that is not described for it.
    """
    from planner.validation.devices import accelerator_named

    kinds = {"dgx": machines.reference_nodes, "pairwise_nvlink": machines.pairwise_nvlink}
    device, _, kind = name.partition("_")
    if kind not in kinds:
        raise PlannerError(
            f"unknown node '{name[:60]}': an accelerator, '_' and a kind of node; "
            + suggest(kind[:60], sorted(kinds))
        )
    accelerator = accelerator_named(device)
    if accelerator not in kinds[kind]:
        raise PlannerError(
            f"unknown node '{name[:60]}': {kind} is described for {', '.join(sorted(kinds[kind]))}"
        )
    return accelerator, kinds[kind][accelerator]
