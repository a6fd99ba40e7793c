"""The cluster as if all of its devices were of the slowest group: what a planner that knows one kind of device sees."""

from __future__ import annotations

import math
from dataclasses import replace

from planner.hardware.types import Cluster, Fabric, NetworkLevel
from planner.jobs.types import Job
from planner.solvers.mixed.job import MixedJob


def as_slowest(mixed: MixedJob, slowest: int) -> Job:
    """The job on as many devices as all groups have, every one of them a device of one group.

    Nodes are that group's, cut to a size that divides the nodes of all groups; the network between them is the slowest of its
    own and of those that join the groups; a device has no more memory than the smallest one of any group.
    """
    job = mixed.jobs[slowest]
    own = job.cluster
    per_node = math.gcd(*(group.devices_per_node for group in mixed.groups))
    cut = [(min(level.size, per_node), level) for level in reversed(_inside(own))]
    inner = {size: level for size, level in cut if per_node % size == 0}
    between = min((*_outside(own), *(link.level for link in mixed.cluster.between)), key=_rate)
    levels = [replace(level, size=size, shape=None, fabric=_flat(level)) for size, level in inner.items()]
    outermost = replace(between, size=mixed.devices, shape=None, fabric=_flat(between))
    memory = min(group.accelerator.memory_bytes for group in mixed.groups)
    cluster = replace(
        own,
        name=f"all as {own.name}",
        nodes=mixed.devices // per_node,
        devices_per_node=per_node,
        network=(*sorted(levels, key=lambda level: level.size), outermost),
        accelerator=replace(own.accelerator, memory_bytes=memory),
        host=replace(own.host, shared_by=math.gcd(own.host.shared_by, per_node)),
    )
    return replace(job, cluster=cluster)


def _inside(cluster: Cluster) -> tuple[NetworkLevel, ...]:
    """Levels of one node."""
    return tuple(level for level in cluster.network if level.size <= cluster.devices_per_node)


def _outside(cluster: Cluster) -> tuple[NetworkLevel, ...]:
    return cluster.network[len(_inside(cluster)) :]


def _flat(level: NetworkLevel) -> Fabric:
    """A part of a torus need not be one."""
    return "switch" if level.fabric == "torus" else level.fabric


def _rate(level: NetworkLevel) -> float:
    return level.bandwidth * level.efficiency / level.oversubscription
