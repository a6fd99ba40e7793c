"""A part of a cluster: whole nodes, or some devices of one node."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from planner.errors import PlannerError
from planner.hardware.types import Cluster, NetworkLevel

_SEARCH = 4096
"""How many neighbouring device counts are tried for the nearest accepted one."""


def use_devices(cluster: Cluster, devices: int, *, field: str | None = "devices") -> Cluster:
    """The cluster restricted to some of its devices.

    Whole nodes are taken, or a part of one. A level that is no longer needed is dropped. A domain that cannot be
    filled is used in equal shares: 128 devices of racks of 72 take 64 of each of two racks. A torus is cut to the
    most compact torus of that size; it keeps wrap-around links only where hardware can close them.

    Args:
        cluster: a homogeneous cluster.
        devices: how many to use.
        field: named in messages.

    Raises:
        PlannerError: more devices than the cluster has, a broken node, or no even share; says what is near.
    """
    if cluster.groups:
        raise PlannerError(
            f"the cluster '{cluster.name}' has groups; a part of it cannot be taken", field=field
        )
    if devices < 1 or devices > cluster.devices:
        raise PlannerError(
            f"found {devices:,}; the cluster '{cluster.name}' has {cluster.devices:,} devices", field=field
        )
    if devices == cluster.devices:
        return cluster
    problem = _problem(cluster, devices)
    if problem is not None:
        raise PlannerError(f"found {devices:,}, but {problem}; {_near(cluster, devices)}", field=field)
    per_node = min(devices, cluster.devices_per_node)
    return replace(
        cluster,
        nodes=devices // per_node,
        devices_per_node=per_node,
        network=tuple(_levels(cluster, devices)),
        host=replace(cluster.host, shared_by=min(cluster.host.shared_by, per_node)),
    )


def _problem(cluster: Cluster, devices: int) -> str | None:
    """Why this many devices cannot be taken, None when they can."""
    if devices > cluster.devices_per_node and devices % cluster.devices_per_node:
        return f"a node has {cluster.devices_per_node} devices and only whole nodes can be joined"
    for level, size in zip(cluster.network, _sizes(cluster, devices), strict=True):
        # Twice the smallest possible number of domains: beyond it the shares are so thin that nobody would run so.
        if devices // size > 2 * math.ceil(devices / level.size):
            return f"they cannot be shared evenly over '{level.name}' domains of {level.size}"
        if level.shape is not None and _cut(level, size) is None:
            shape = " x ".join(str(extent) for extent in level.shape)
            return f"no {len(level.shape)}-dimensional part of the {shape} torus has that many"
    return None


def _near(cluster: Cluster, devices: int) -> str:
    below = next(
        (n for n in range(devices - 1, max(0, devices - _SEARCH), -1) if not _problem(cluster, n)), None
    )
    above = range(devices + 1, min(cluster.devices, devices + _SEARCH) + 1)
    above_first = next((n for n in above if not _problem(cluster, n)), None)
    found = [f"{count:,}" for count in (below, above_first) if count is not None]
    return f"the nearest accepted: {' or '.join(found)}" if found else "no nearby count is accepted"


def _sizes(cluster: Cluster, devices: int) -> list[int]:
    """Devices used in one domain of each level: the largest equal share that nests into the next level."""
    sizes: list[int] = []
    inner = 1
    for level in cluster.network:
        # Above a node, shares are whole nodes; below it, whole domains of the inner level.
        whole = cluster.devices_per_node
        step = whole if level.size % whole == 0 and devices % whole == 0 and whole % inner == 0 else inner
        shares = devices // step
        most = max(1, min(level.size // step, shares))
        inner = step * next(count for count in range(most, 0, -1) if shares % count == 0)
        sizes.append(inner)
    return sizes


def _levels(cluster: Cluster, devices: int) -> Iterator[NetworkLevel]:
    inner = 0
    for level, size in zip(cluster.network, _sizes(cluster, devices), strict=True):
        # A level that joins nothing more than the one inside it carries no traffic.
        useful = size > max(inner, 1) or (devices == 1 and inner == 0)
        if useful:
            yield _resized(level, size)
        inner = size


def _resized(level: NetworkLevel, size: int) -> NetworkLevel:
    if level.shape is None or size == level.size:
        return replace(level, size=size)
    shape = _cut(level, size)
    assert shape is not None, "checked before"
    return replace(level, size=size, shape=shape, wrap=level.wrap and _closes(level, shape))


def _closes(level: NetworkLevel, box: tuple[int, ...]) -> bool:
    """Whether a part of the torus has wrap-around links on all its axes.

    Optical switches close any box of whole blocks (TPU v4, arXiv 2304.01433); fixed cables close whole axes only.
    """
    assert level.shape is not None
    if level.wrap_unit:
        return all(extent % level.wrap_unit == 0 for extent in box)
    return all(extent in (1, full) for extent, full in zip(box, level.shape, strict=True))


def _cut(level: NetworkLevel, size: int) -> tuple[int, ...] | None:
    """The most compact box of that many devices; where optical switches can close one, a closed one."""
    assert level.shape is not None

    def order(box: tuple[int, ...]) -> tuple[bool, int, tuple[int, ...]]:
        return (level.wrap_unit > 0 and not _closes(level, box), sum(box), box)

    return min(_boxes(level.shape, size), key=order, default=None)


def _boxes(limits: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    """All extents within the limits whose product is ``size``."""
    if len(limits) == 1:
        if size <= limits[0]:
            yield (size,)
        return
    for extent in range(1, min(limits[0], size) + 1):
        if size % extent == 0:
            for rest in _boxes(limits[1:], size // extent):
                yield (extent, *rest)
