"""The cluster as if all of its devices were of the slowest group: what a planner that knows one kind of device sees."""

from __future__ import annotations

from dataclasses import replace

from planner.hardware.types import Cluster, NetworkLevel
from planner.jobs.types import Job
from planner.solvers.mixed.job import MixedJob


def as_slowest(mixed: MixedJob, slowest: int) -> Job:
    """The job on as many whole nodes of one group as have no more devices than all groups together.

    Nodes are that group's; the network between them is the slowest of its own and of those that join the groups; a device has
    no more memory than the smallest one of any group.
    """
    job = mixed.jobs[slowest]
    own = job.cluster
    nodes = mixed.devices // own.devices_per_node
    devices = nodes * own.devices_per_node
    inner = tuple(level for level in own.network if level.size <= own.devices_per_node)
    outer = (*(level for level in own.network if level.size > own.devices_per_node), *_joining(mixed))
    between = replace(min(outer, key=_rate), size=devices, fabric="switch", shape=None)
    network = (*inner, between) if nodes > 1 else inner
    memory = min(group.accelerator.memory_bytes for group in mixed.groups)
    accelerator = replace(own.accelerator, memory_bytes=memory)
    cluster: Cluster = replace(
        own, name=f"all as {own.name}", nodes=nodes, network=network, accelerator=accelerator
    )
    return replace(job, cluster=cluster)


def _joining(mixed: MixedJob) -> tuple[NetworkLevel, ...]:
    return tuple(link.level for link in mixed.cluster.between)


def _rate(level: NetworkLevel) -> float:
    return level.bandwidth * level.efficiency / level.oversubscription
