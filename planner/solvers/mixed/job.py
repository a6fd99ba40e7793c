"""A job on a heterogeneous cluster: the same job once per group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import PlannerError
from planner.hardware.types import Cluster, NetworkLevel
from planner.jobs.loader import job_groups, resolve
from planner.jobs.place import JobDocument
from planner.jobs.types import Job

OBJECTIVES = ("step_time", "cost")
"""What a plan of several groups may aim at; the others rank layouts of one group."""


@dataclass(frozen=True)
class MixedJob:
    """A job and what it becomes on each group.

    Args:
        name: of the job file.
        cluster: with ``groups`` and ``between``.
        jobs: one per group, in the file's order: model and training are the same, cluster and calibration the group's.
    """

    name: str
    cluster: Cluster
    jobs: tuple[Job, ...]

    @property
    def groups(self) -> tuple[Cluster, ...]:
        return self.cluster.groups

    @property
    def devices(self) -> int:
        return sum(job.devices for job in self.jobs)

    @property
    def global_batch(self) -> int:
        return self.jobs[0].training.global_batch

    def between(self, one: int, other: int) -> NetworkLevel:
        """What joins two groups."""
        pair = (min(one, other), max(one, other))
        return next(link.level for link in self.cluster.between if link.groups == pair)

    def price_per_hour(self, groups: Mapping[int, Any] | tuple[int, ...]) -> float | None:
        """Of all devices of some groups; None when one of them states no price."""
        prices = [self.groups[place].price_per_device_hour for place in groups]
        sizes = [self.groups[place].devices for place in groups]
        known = [price * size for price, size in zip(prices, sizes, strict=True) if price is not None]
        return sum(known) if len(known) == len(prices) else None


def load_mixed(place: JobDocument) -> MixedJob | None:
    """The job at that place when its cluster has groups, else None.

    Raises:
        PlannerError: as ``load_job``; a precision that some group lacks; an objective that ranks one group's layouts only.
    """
    cluster = job_groups(place)
    if cluster is None:
        return None
    _check_precision(place, cluster)
    jobs = tuple(resolve(place, group=group) for group in cluster.groups)
    objective = jobs[0].search.objective
    if objective not in OBJECTIVES:
        message = f"found '{objective}'; a cluster with groups is planned for {' or '.join(OBJECTIVES)}"
        raise place.fault(("search", "objective"), message)
    return MixedJob(jobs[0].name, cluster, jobs)


def _check_precision(place: JobDocument, cluster: Cluster) -> None:
    """All groups multiply in the job's precision: a stage hands its activations to the next one in it."""
    training = place.document.at((*place.at, "training"))
    wanted = training.get("precision", "bf16") if isinstance(training, Mapping) else "bf16"
    common = [
        name
        for name in cluster.groups[0].accelerator.peak_flops
        if all(name in group.accelerator.peak_flops for group in cluster.groups)
    ]
    for group in cluster.groups:
        if wanted not in group.accelerator.peak_flops:
            raise place.fault(
                ("training", "precision"),
                f"found '{wanted}', which group '{group.name}' ({group.accelerator.name}) lacks; "
                f"all groups have: {', '.join(sorted(common)) or 'none in common'}",
            )


def require(condition: bool, message: str, field: str) -> None:
    """Raises a ``PlannerError`` unless the condition holds."""
    if not condition:
        raise PlannerError(message, field=field)
