"""What a cluster must obey to be physical; the first breach is one error at its field."""

from __future__ import annotations

import math
from collections.abc import Sequence

from planner.documents import Document, fault
from planner.hardware.schema import MAX_DEVICES, ClusterFile
from planner.hardware.types import NetworkLevel

Path = tuple[str | int, ...]


def level_sizes(file: ClusterFile, document: Document, at: Path) -> list[int]:
    """Devices per domain of each level: stated, or the product of the torus shape; the last covers all devices.

    Raises:
        PlannerError: too many devices, or sizes that do not nest.
    """
    devices = file.nodes * file.devices_per_node
    if devices > MAX_DEVICES:
        raise fault(
            document,
            (*at, "nodes"),
            f"{devices:,} devices (nodes x devices_per_node) are more than {MAX_DEVICES:,}",
        )
    sizes: list[int] = []
    last = len(file.network) - 1
    for index, level in enumerate(file.network):
        here = (*at, "network", index)
        if level.size is None and level.shape is None and index != last:
            raise fault(document, here, f"level '{level.name}' lacks 'size'; only the outermost may omit it")
        size = level.size or (math.prod(level.shape) if level.shape else devices)
        inner = sizes[-1] if sizes else 1
        if size % inner:
            raise fault(
                document,
                (*here, "size"),
                f"found {size}; a multiple of the inner level's size {inner} is accepted",
            )
        if size > devices:
            raise fault(
                document,
                (*here, "size"),
                f"found {size}, but the cluster has {devices} devices (nodes x devices_per_node)",
            )
        sizes.append(size)
    if sizes[-1] != devices:
        raise fault(
            document,
            (*at, "network", last, "size"),
            f"found {sizes[-1]}; the outermost level joins all {devices} devices (nodes x devices_per_node)",
        )
    return sizes


def check_levels(levels: Sequence[NetworkLevel], document: Document, at: Path) -> None:
    """Fabrics, shapes and names of the levels fit together.

    Raises:
        PlannerError: at the field of the first breach.
    """
    seen: set[str] = set()
    for index, level in enumerate(levels):
        here = (*at, "network", index)
        if level.name in seen:
            raise fault(document, (*here, "name"), f"'{level.name}' names two levels")
        seen.add(level.name)
        if level.per_flow_bandwidth is not None and level.per_flow_bandwidth > level.bandwidth:
            raise fault(
                document,
                (*here, "per_flow_bandwidth"),
                f"one flow cannot reach more than the device's bandwidth ({level.bandwidth:g} bytes/s)",
            )
        _check_torus(level, document, here)


def _check_torus(level: NetworkLevel, document: Document, here: Path) -> None:
    if level.fabric == "torus" and level.shape is None:
        raise fault(document, (*here, "shape"), "is missing; a torus needs the extent of each axis")
    if level.shape is None:
        return
    if level.fabric != "torus":
        raise fault(document, (*here, "shape"), f"belongs to the fabric torus; found {level.fabric}")
    if math.prod(level.shape) != level.size:
        product = " x ".join(str(extent) for extent in level.shape)
        raise fault(
            document,
            (*here, "shape"),
            f"{product} = {math.prod(level.shape)} devices; the level's size is {level.size}",
        )
