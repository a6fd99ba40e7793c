"""Traffic of states and activations that live on the host or on NVMe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import FloatArray
from planner.costs.states import StateBytes, tier_fraction
from planner.errors import PlannerError
from planner.hardware.types import Host
from planner.jobs.types import Job
from planner.layouts.layout import StateClass, Tier
from planner.layouts.layouts import Layouts


@dataclass(frozen=True)
class TierRates:
    """Bytes/s of one device to and from a tier when every device of the node transfers."""

    write: float
    read: float


def tier_rates(host: Host, devices_per_node: int, tier: Tier) -> TierRates | None:
    """Rates of a tier, None when the cluster does not describe it.

    Devices that share a host link share its bandwidth; NVMe is behind the host link and shared by the node.
    """
    if host.link_bandwidth is None or host.memory_bytes is None:
        return None
    link = host.link_bandwidth / max(host.shared_by, 1)
    if tier == "host":
        return TierRates(link, link)
    if host.nvme_bytes is None or host.nvme_read is None or host.nvme_write is None:
        return None
    return TierRates(
        min(link, host.nvme_write / devices_per_node), min(link, host.nvme_read / devices_per_node)
    )


def _seconds(
    job: Job, layouts: Layouts, state: StateClass, written: FloatArray, read: FloatArray
) -> FloatArray:
    """Seconds to move bytes of a state class to and from its tier, scaled by the fraction that lives there."""
    total = np.zeros(len(layouts))
    tiers: tuple[Tier, ...] = ("host", "nvme")
    for tier in tiers:
        fraction = tier_fraction(layouts, state, tier)
        if not fraction.any():
            continue
        rates = tier_rates(job.cluster.host, job.cluster.devices_per_node, tier)
        if rates is None:
            raise PlannerError(
                f"the cluster {job.cluster.name} does not describe its {tier} tier (memory and link bandwidth), "
                f"so nothing can be offloaded to it",
                field=f"offload.{state}",
            )
        total = total + fraction * (written / rates.write + read / rates.read)
    return total


def activation_seconds(job: Job, layouts: Layouts, saved: FloatArray) -> FloatArray:
    """Seconds to bring one micro-batch's saved activations out (and, the same again, back)."""
    return _seconds(job, layouts, "activations", saved, np.zeros(len(layouts)))


def parameter_seconds(job: Job, layouts: Layouts, states: StateBytes) -> FloatArray:
    """Seconds to fetch a rank's parameters for one pass."""
    return _seconds(job, layouts, "parameters", np.zeros(len(layouts)), states.parameters)


def optimizer_seconds_offloaded(job: Job, layouts: Layouts, states: StateBytes) -> FloatArray:
    """Seconds to stream offloaded optimizer state (and gradients) through the tier once, in and out.

    Holds for state streamed to the device (ZeRO-Infinity, arXiv 2104.07857) and bounds an update on the host, which
    moves fewer bytes but at the host's own memory rate.
    """
    state = _seconds(job, layouts, "optimizer", states.optimizer, states.optimizer)
    return state + _seconds(job, layouts, "gradients", states.gradients, states.gradients)
