"""The best layouts of a small job by pricing every one that the lister names: no bounds, no order, no blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from planner.costs.evaluate import evaluate
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts

Row = tuple[float, ...]


@dataclass(frozen=True)
class Everything:
    """Layouts of a job with what they take."""

    rows: list[Layout]
    time_s: list[float]
    memory_bytes: list[float]
    host_bytes: list[float]
    devices: list[int]

    def fitting(self, job: Job) -> Everything:
        """Those that leave the user's reserve free on the device and do not overflow the node's memory."""
        accelerator, cluster = job.cluster.accelerator, job.cluster
        usable = accelerator.memory_bytes - job.search.memory_reserve * accelerator.memory_bytes
        node = (cluster.host.memory_bytes or 0.0) / cluster.devices_per_node
        kept = [
            i for i in range(len(self.rows)) if self.memory_bytes[i] <= usable and self.host_bytes[i] <= node
        ]
        return Everything(
            [self.rows[i] for i in kept],
            [self.time_s[i] for i in kept],
            [self.memory_bytes[i] for i in kept],
            [self.host_bytes[i] for i in kept],
            [self.devices[i] for i in kept],
        )

    def values(self, objective: str) -> list[Row]:
        """What is minimised, and then what decides among equals, by layout."""
        return [
            (used, time)
            if objective == "memory"
            else (time * count if objective == "cost" else time, time, used)
            for time, used, count in zip(self.time_s, self.memory_bytes, self.devices, strict=True)
        ]

    def pareto(self, *axes: str) -> set[Row]:
        """Points that no other equals or beats in all of the axes and beats in one, by comparison with each of them."""
        columns = {
            "step_time": self.time_s,
            "memory": self.memory_bytes,
            "devices": self.devices,
            "cost": [time * count for time, count in zip(self.time_s, self.devices, strict=True)],
        }
        kept: list[Row] = []
        # in sorted order a rival always comes first
        for point in sorted(set(zip(*(columns[axis] for axis in axes), strict=True))):
            if not any(all(a <= b for a, b in zip(rival, point, strict=True)) for rival in kept):
                kept.append(point)
        return set(kept)


def price_all(job: Job, rows: list[Layout]) -> Everything:
    """Every listed layout, whether it fits or not."""
    result = evaluate(job, from_layouts(rows))
    memory = result.memory
    return Everything(
        rows,
        result.step_time_s.tolist(),
        memory.device_used_bytes.tolist(),
        memory.host_bytes.tolist(),
        [row.tp * row.cp * row.pp * row.dp for row in rows],
    )


def with_memory_for(job: Job, every: Everything, share: float) -> Job:
    """The job on devices in whose memory about this share of the layouts fits, at least one."""
    used = sorted(every.memory_bytes)
    needed = used[min(int(share * len(used)), len(used) - 1)]
    return with_memory(job, needed / (1.0 - job.search.memory_reserve) * (1.0 + 1e-9))


def with_memory(job: Job, nbytes: float) -> Job:
    """The job on devices with that much memory."""
    accelerator: Any = replace(job.cluster.accelerator, memory_bytes=nbytes)
    return replace(job, cluster=replace(job.cluster, accelerator=accelerator))
