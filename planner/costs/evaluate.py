"""Memory and step time of many layouts at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.memory import stage_memory
from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.costs.stages import stage_groups
from planner.costs.step import step_time
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts


@dataclass(frozen=True)
class MemoryTotals:
    """Bytes of the worst device of every row, and whether it fits, shape (rows,)."""

    peak_bytes: FloatArray
    reserved_bytes: FloatArray
    device_used_bytes: FloatArray
    host_bytes: FloatArray
    nvme_bytes: FloatArray
    fits: NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """Step time and memory of every row, shape (rows,)."""

    step_time_s: FloatArray
    memory: MemoryTotals


def evaluate(job: Job, layouts: Layouts, prices: Prices | None = None) -> Evaluation:
    """Step time and memory of legal layouts.

    Args:
        prices: block prices that cover the rows (``price_model``); computed here when None.
    """
    table = price_model(job, layouts) if prices is None else prices
    return Evaluation(step_times(job, layouts, table), memory_totals(job, layouts, table))


def memory_totals(job: Job, layouts: Layouts, prices: Prices | None = None) -> MemoryTotals:
    """Worst device of each layout; ``fits`` counts the user's reserve and the capacity of the tiers below HBM."""
    table = price_model(job, layouts) if prices is None else prices
    rows = table.rows(layouts)
    peak, reserved, used, host, nvme = (np.zeros(len(layouts)) for _ in range(5))
    for group in stage_groups(layouts, job.model):
        mine, local = layouts.take(group.rows), rows.take(group.rows)
        for stage in group.classes:
            memory = stage_memory(job, mine, local, stage)
            peak[group.rows] = np.maximum(peak[group.rows], memory.peak)
            reserved[group.rows] = np.maximum(reserved[group.rows], memory.reserved)
            used[group.rows] = np.maximum(used[group.rows], memory.used)
            host[group.rows] = np.maximum(host[group.rows], memory.host)
            nvme[group.rows] = np.maximum(nvme[group.rows], memory.nvme)
    return MemoryTotals(peak, reserved, used, host, nvme, fits(job, used, host, nvme))


def fits(job: Job, used: FloatArray, host: FloatArray, nvme: FloatArray) -> NDArray[np.bool_]:
    """Whether device, host and NVMe hold what they are given.

    Args:
        used: bytes on the device, context included; host, nvme: bytes of one device on those tiers.
    """
    capacity = job.cluster.accelerator.memory_bytes
    tiers = job.cluster.host
    result = used + job.search.memory_reserve * capacity <= capacity
    result &= (host == 0) | (host * job.cluster.devices_per_node <= (tiers.memory_bytes or 0.0))
    result &= (nvme == 0) | (nvme * job.cluster.devices_per_node <= (tiers.nvme_bytes or 0.0))
    return np.asarray(result)


def step_times(job: Job, layouts: Layouts, prices: Prices | None = None) -> FloatArray:
    """Seconds per optimizer step of each layout."""
    table = price_model(job, layouts) if prices is None else prices
    rows = table.rows(layouts)
    result = np.zeros(len(layouts))
    for group in stage_groups(layouts, job.model):
        local = rows.take(group.rows)
        result[group.rows] = step_time(job, layouts.take(group.rows), local, group).total
    return result
