"""Clusters from the catalogue, from a file or from an inline mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from planner.documents import Document, fault, load_document, validate
from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.accelerators import load_accelerator
from planner.hardware.between import group_links, with_own_name
from planner.hardware.calibration import (
    applied_calibration,
    calibrated_accelerator,
    calibrated_level,
    default_calibration,
)
from planner.hardware.catalogue import list_accelerators, list_clusters, list_networks
from planner.hardware.checks import check_levels, level_sizes
from planner.hardware.evidence import evidence, value
from planner.hardware.networks import build_level, load_network_kind
from planner.hardware.schema import ClusterFile, GroupedFile, GroupFile, HostFile
from planner.hardware.slicing import use_devices
from planner.hardware.spreads import Spreads
from planner.hardware.types import Cluster, Evidence, Host, NetworkLevel

__all__ = [
    "list_accelerators",
    "list_clusters",
    "list_networks",
    "load_accelerator",
    "load_cluster",
    "load_network_kind",
    "use_devices",
]

_SUFFIXES = (".yaml", ".yml", ".json")
Keys = tuple[str | int, ...]


def load_cluster(
    reference: str | Mapping[str, Any],
    *,
    base: Path | None = None,
    document: Document | None = None,
    at: Keys = (),
    allow_groups: bool = False,
    calibrated: bool = True,
) -> Cluster:
    """One cluster.

    Args:
        reference: a catalogue name, the path of a cluster file, or the mapping of one.
        base: folder that relative paths start from (that of the job); default: the working directory.
        document, at: where the reference stands, for messages.
        allow_groups: also return heterogeneous clusters; without it they are refused, because most of the planner
            prices one kind of node.
        calibrated: replace the priors of catalogue entries by fitted constants: of the file that the cluster names, else
            of the catalogue's calibration.

    Raises:
        PlannerError: no such cluster, or a file that does not describe a physical one.
    """
    document, at, base = _opened(reference, base, document, at)
    if _names_groups(document.at(at)):
        if not allow_groups:
            raise fault(
                document,
                (*at, "groups"),
                "heterogeneous clusters cannot be planned here (plan search does); describe one kind of node",
            )
        return _grouped(document, at, base, calibrated=calibrated)
    return _single(document, at, base, calibrated=calibrated)


def is_grouped(
    reference: str | Mapping[str, Any],
    *,
    base: Path | None = None,
    document: Document | None = None,
    at: Keys = (),
) -> bool:
    """Whether a reference names a heterogeneous cluster; arguments and errors as ``load_cluster``."""
    document, at, _ = _opened(reference, base, document, at)
    return _names_groups(document.at(at))


def _names_groups(data: object) -> bool:
    return isinstance(data, Mapping) and "groups" in data


def _opened(
    reference: str | Mapping[str, Any], base: Path | None, document: Document | None, at: Keys
) -> tuple[Document, Keys, Path | None]:
    """The document that describes the cluster, where in it, and the folder of its relative paths."""
    if isinstance(reference, str):
        path = _locate(reference, base, document, at)
        return load_document(path), (), path.parent
    return (Document(None, reference) if document is None else document), at, base


def _locate(reference: str, base: Path | None, document: Document | None, at: Keys) -> Path:
    if "/" in reference or "\\" in reference or reference.endswith(_SUFFIXES):
        path = _resolved(reference, base)
        if not _is_there(path) and document is not None:
            raise fault(document, at, f"the cluster file {catalogue.shown(str(path))} does not exist")
        return path
    try:
        return catalogue.find(catalogue.CLUSTERS, reference)
    except PlannerError as error:
        raise fault(
            document, at, f"{error.message} (or the path of a cluster file ending in .yaml)"
        ) from None


def _resolved(name: str, base: Path | None) -> Path:
    path = Path(name)
    return path if base is None or path.is_absolute() else base / path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long or holds a null character
        return False


def _single(document: Document, at: Keys, base: Path | None, *, calibrated: bool) -> Cluster:
    file = validate(document, ClusterFile, at)
    chosen = _existing(file.calibration, base, document, (*at, "calibration"))
    fitted = (Path(chosen) if chosen else default_calibration()) if calibrated else None
    calibration = None if fitted is None else applied_calibration(fitted)
    accelerator = load_accelerator(file.accelerator, document=document, at=(*at, "accelerator"))
    if calibration is not None and isinstance(file.accelerator, str):
        accelerator = calibrated_accelerator(accelerator, calibration)
    levels: list[NetworkLevel] = []
    origins: dict[str, Evidence] = {}
    for index, size in enumerate(level_sizes(file, document, at)):
        here = (*at, "network", index)
        level, found = build_level(file.network[index], size, document, here, file.sources)
        if calibration is not None:
            level, fitted_origins = calibrated_level(level, calibration)
            found |= fitted_origins
        levels.append(level)
        origins |= found
    check_levels(levels, document, at)
    host, found = _host(file.host, file.sources)
    _check_host(file, document, at)
    extra = [("price_per_device_hour", file.price_per_device_hour), ("power_per_device_w", file.power)]
    return Cluster(
        name=file.name or (document.path.stem if document.path else "inline"),
        accelerator=accelerator,
        nodes=file.nodes,
        devices_per_node=file.devices_per_node,
        network=tuple(levels),
        host=host,
        price_per_device_hour=value(file.price_per_device_hour),
        power_per_device_w=value(file.power),
        mtbf_s=value(file.mtbf),
        calibration=None if fitted is None else str(fitted),
        spreads=(calibration.spreads if calibration else None) or Spreads(),
        links=_existing(file.links, base, document, (*at, "links")),
        evidence={**origins, **found, **evidence([*extra, ("mtbf_s", file.mtbf)], file.sources)},
        notes=file.notes,
    )


def _grouped(document: Document, at: Keys, base: Path | None, *, calibrated: bool) -> Cluster:
    file = validate(document, GroupedFile, at)
    parts: list[Cluster] = []
    for index, group in enumerate(file.groups):
        part = _group(document, (*at, "groups", index), base, group, calibrated=calibrated)
        parts.append(with_own_name(part, parts))
    first = parts[0]
    fitted = default_calibration() if calibrated else None
    calibration = None if fitted is None else applied_calibration(fitted)
    return Cluster(
        name=file.name or (document.path.stem if document.path else "inline"),
        accelerator=first.accelerator,
        nodes=first.nodes,
        devices_per_node=first.devices_per_node,
        network=first.network,
        host=first.host,
        links=_existing(file.links, base, document, (*at, "links")),
        groups=tuple(parts),
        between=group_links(file, parts, document, (*at, "between"), calibration),
        notes=file.notes,
    )


def _group(document: Document, at: Keys, base: Path | None, group: object, *, calibrated: bool) -> Cluster:
    """One group: a reference, a part of a reference, or the mapping of a cluster."""
    if isinstance(group, str):
        return load_cluster(group, base=base, document=document, at=at, calibrated=calibrated)
    if not (isinstance(group, Mapping) and "cluster" in group):
        return _single(document, at, base, calibrated=calibrated)
    part = validate(document, GroupFile, at)
    here = (*at, "cluster")
    whole = load_cluster(part.cluster, base=base, document=document, at=here, calibrated=calibrated)
    try:
        used = whole if part.devices is None else use_devices(whole, part.devices)
    except PlannerError as error:
        raise fault(document, (*at, "devices"), error.message) from None
    return replace(used, name=part.name or used.name)


def _host(file: HostFile, sources: Mapping[str, str]) -> tuple[Host, dict[str, Evidence]]:
    nvme = file.nvme
    figures = {
        "memory_bytes": file.memory,
        "link_bandwidth": file.link,
        "nvme_bytes": nvme.capacity if nvme else None,
        "nvme_read": nvme.read if nvme else None,
        "nvme_write": nvme.write if nvme else None,
    }
    origins = evidence([(f"host.{name}", figure) for name, figure in figures.items()], sources)
    return Host(
        shared_by=file.shared_by, cores=file.cores, **{name: value(item) for name, item in figures.items()}
    ), origins


def _check_host(file: ClusterFile, document: Document, at: Keys) -> None:
    if file.devices_per_node % file.host.shared_by:
        raise fault(
            document,
            (*at, "host", "shared_by"),
            f"found {file.host.shared_by}; a divisor of devices_per_node = {file.devices_per_node} is accepted",
        )


def _existing(name: str | None, base: Path | None, document: Document, at: Keys) -> str | None:
    """The path of a file that a cluster names, which must exist."""
    if name is None:
        return None
    path = _resolved(name, base)
    if not _is_there(path) or not path.is_file():
        raise fault(document, at, f"the file {catalogue.shown(str(path))} does not exist")
    return str(path)
