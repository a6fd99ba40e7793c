"""The hardware of a row as a cluster: the reference node of its accelerator, joined at the rate that the row states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from planner.documents import load_document
from planner.errors import PlannerError
from planner.hardware.loader import load_cluster, use_devices
from planner.hardware.networks import load_network_kind
from planner.hardware.types import Cluster
from planner.validation.runs.refusal import Refused, lacking, missing
from planner.validation.runs.rows import RowHardware
from planner.validation.runs.shelf import Shelf

_KINDS: Mapping[str, tuple[tuple[float, str], ...]] = {
    "infiniband": (
        (100, "infiniband-edr"),
        (200, "infiniband-hdr"),
        (400, "infiniband-ndr"),
        (800, "infiniband-xdr"),
    ),
    "roce": ((100, "roce-100"), (200, "roce-200"), (400, "roce-400")),
    "omni-path": ((100, "omni-path"),),
    "ethernet": ((10, "ethernet-10"), (25, "ethernet-25"), (100, "ethernet-100")),
    "efa": ((50, "efa-trn1"), (400, "efa-400")),
    "slingshot": ((100, "slingshot-11"),),
}
"""Kind of a row's network -> (Gb/s of a port, catalogue kind), ascending."""

INSIDE = ("none (one node)", "nvlink-domain-72", "ici")
"""Kinds that need no network between nodes, or whose outer network rows do not name."""


def reference_nodes() -> Mapping[str, Mapping[str, Any]]:
    """Accelerator -> its reference node (``nodes.yaml``)."""
    with resources.as_file(resources.files("planner.validation.runs") / "nodes.yaml") as path:
        nodes: Mapping[str, Mapping[str, Any]] = load_document(path).data
        return nodes


@dataclass(frozen=True)
class Constants:
    """Which constants predictions rest on.

    Args:
        fitted: those of a calibration; without it the priors alone.
        file: the calibration, None for the catalogue's.
    """

    fitted: bool = True
    file: str | None = None


CATALOGUE = Constants()


def build_cluster(
    hardware: RowHardware, shelf: Shelf, *, slices: int = 1, constants: Constants = CATALOGUE
) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster of a row, and what had to be assumed about it.

    Args:
        slices: equal parts that only the outer network joins (TPU slices over the data-center network).
        constants: of devices and links.

    Raises:
        Refused: no device count, an accelerator or network that is unknown, or a count that no such system has.
    """
    name, count = hardware.accelerator, hardware.count
    nodes = shelf.once("nodes", reference_nodes)
    if name not in nodes:
        raise Refused(f"accelerator '{name}' is not in the catalogue of nodes")
    if count is None:
        raise missing("hardware.count")
    network = hardware.network
    key = ("cluster", name, count, hardware.per_node, network.kind, network.gbps_per_node, slices, constants)
    return shelf.once(key, lambda: _built(hardware, nodes[name], count, slices, constants))


def _built(
    hardware: RowHardware, node: Mapping[str, Any], count: int, slices: int, constants: Constants
) -> tuple[Cluster, tuple[str, ...]]:
    per_node = min(hardware.per_node or int(node["per_node"]), count)
    inside = [dict(level) for level in node["inside"]]
    if count % per_node or count % slices:
        raise Refused("devices do not fill whole nodes", f"{count} devices, {per_node} per node")
    assumed: list[str] = []
    levels = _inside(inside, per_node, node, hardware)
    pod = node.get("pod")
    # A pod is built whole and then cut, so that its domains are used in equal shares.
    total = count if pod is None else pod * max(slices, -(-count // pod))
    if total > (levels[-1]["size"] if levels else 1):
        levels.append(_outside(hardware, node, per_node, assumed) | {"size": total})
    try:
        mapping = _mapping(hardware.accelerator, node, per_node, total, levels)
        if constants.file is not None:
            mapping["calibration"] = constants.file
        cluster = load_cluster(mapping, calibrated=constants.fitted)
        if slices > 1:
            return _sliced(cluster, count, slices), tuple(assumed)
        return use_devices(cluster, count), tuple(assumed)
    except PlannerError as error:
        raise Refused("hardware cannot be built", str(error)) from None


def _inside(
    levels: list[dict[str, Any]], per_node: int, node: Mapping[str, Any], hardware: RowHardware
) -> list[dict[str, Any]]:
    """Levels within a node (or a pod, which a node is a part of), cut to the devices of this node."""
    if "pod" in node:
        return levels
    kept = [level | {"size": min(int(level["size"]), per_node)} for level in levels if per_node > 1]
    if per_node > int(node["per_node"]):
        kind = node.get("large")
        if kind is None:
            raise lacking("nodes of this size", f"{per_node} x {hardware.accelerator}")
        return [{"name": levels[-1]["name"], "kind": kind, "size": per_node}]
    if per_node < int(node["per_node"]):
        for level in kept:
            level.pop("shape", None)
            if load_network_kind(level["kind"]).fabric == "torus":
                level["fabric"] = "ring"
    sizes = [level["size"] for level in kept]
    return [level for index, level in enumerate(kept) if level["size"] not in sizes[:index]]


def _outside(
    hardware: RowHardware, node: Mapping[str, Any], per_node: int, assumed: list[str]
) -> dict[str, Any]:
    network = hardware.network
    kinds = _KINDS.get(network.kind or "")
    told = kinds is not None or network.kind in (*INSIDE, "unknown", None)
    what = "network between nodes not given" if told else f"network '{network.kind}' is not in the catalogue"
    if network.gbps_per_node is None or kinds is None:
        assumed.append(f"{what}: {node['outside']} of the reference node")
    if network.gbps_per_node is None:
        return {"name": "network", "kind": node["outside"]}
    rate = network.gbps_per_node / per_node
    kind = next((name for port, name in kinds if port >= rate), kinds[-1][1]) if kinds else node["outside"]
    kind = node.get(network.kind or "", kind)
    return {"name": "network", "kind": kind, "bandwidth": f"{rate:g} Gb/s"}


def _mapping(
    accelerator: str, node: Mapping[str, Any], per_node: int, count: int, levels: list[dict[str, Any]]
) -> dict[str, Any]:
    if not levels:  # a level is needed even where one device has nobody to talk to
        inside = node["inside"] or [{"name": "network", "kind": node["outside"]}]
        levels = [{"name": inside[0]["name"], "kind": inside[0]["kind"], "size": count, "fabric": "switch"}]
    return {
        "name": f"{count} x {accelerator}",
        "accelerator": accelerator,
        "nodes": count // per_node,
        "devices_per_node": per_node,
        "network": levels,
    }


def _sliced(cluster: Cluster, count: int, slices: int) -> Cluster:
    """Equal slices of a pod, each cut on its own, joined by the outermost level."""
    pod = replace(
        cluster,
        nodes=cluster.network[-2].size // cluster.devices_per_node,
        network=cluster.network[:-1],
    )
    part = use_devices(pod, count // slices)
    joined = replace(cluster.network[-1], size=count)
    return replace(part, nodes=part.nodes * slices, network=(*part.network, joined))


def with_host(cluster: Cluster, accelerator: str, shelf: Shelf) -> Cluster:
    """The cluster with the host tiers of its catalogue twin, for runs that offload.

    Raises:
        Refused: no catalogue cluster tells the host memory of this accelerator's node.
    """
    like = shelf.once("nodes", reference_nodes)[accelerator].get("like")
    if like is None:
        raise lacking("host memory of this accelerator's node", accelerator)
    host = shelf.once(("host", like), lambda: load_cluster(like).host)
    if not host.memory_bytes:
        raise lacking("host memory of this accelerator's node", accelerator)
    return replace(cluster, host=replace(host, shared_by=min(host.shared_by, cluster.devices_per_node)))
