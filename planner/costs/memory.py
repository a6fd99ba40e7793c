"""Peak memory of one device by class: which instant is worst, and what is alive then. Docs: docs/memory.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.instants import OPTIMIZER_STEP, instants_of, rank_states
from planner.costs.pipeline import in_flight
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass
from planner.costs.states import (
    StateBytes,
    tier_fraction,
)
from planner.jobs.prediction import MEMORY_CLASSES
from planner.jobs.types import Job
from planner.layouts.layout import StateClass, Tier
from planner.layouts.layouts import IntArray, Layouts


@dataclass(frozen=True)
class StageMemory:
    """Memory of the worst member of a stage class, shape (rows,).

    Args:
        alive: for each of ``INSTANTS``, class -> bytes alive then.
        worst: index of the worst instant.
        peak, reserved, used: allocated; with allocator rounding and fragmentation; with context.
        apart: of ``reserved``, bytes that are never in use together with the peak.
        host, nvme: bytes of one device's states and activations on those tiers.
        states: persistent states before offload.
        between_steps: of them, bytes that stay alive from one step to the next.
    """

    alive: Sequence[Mapping[str, FloatArray]]
    worst: IntArray
    peak: FloatArray
    reserved: FloatArray
    apart: FloatArray
    used: FloatArray
    host: FloatArray
    nvme: FloatArray
    states: StateBytes
    between_steps: FloatArray

    def by_class(self, row: int) -> dict[str, float]:
        """Class -> bytes of one row at its worst instant; they add up to its ``peak``."""
        parts = self.alive[int(self.worst[row])]
        return {name: float(parts[name][row]) for name in MEMORY_CLASSES}


def stage_memory(
    job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass, rank: IntArray | None = None
) -> StageMemory:
    """Peak memory of a stage class.

    Args:
        layouts, prices: rows that share the stage's blocks.
        rank: the member that each row stands for; by default the first one, which holds most micro-batches in flight.
    """
    part = rank_states(job, layouts, prices, stage)
    c = layouts.columns
    flight = in_flight(
        c["schedule"], c["pp"], c["vpp"], c["micro_batches"], stage.ranks[0] if rank is None else rank
    )
    saved = flight * prices.total("saved", *part.counts)
    moved = 1.0 - tier_fraction(layouts, "activations", "hbm")
    buffers = 2.0 * moved * prices.largest(("saved",), *part.counts)
    kept = saved * (1.0 - moved) + np.minimum(buffers, saved)
    instants = instants_of(
        part, kept, np.where(flight >= c["micro_batches"], kept / np.maximum(flight, 1.0), np.inf)
    )
    totals = np.stack([sum(parts.values(), np.zeros(len(layouts))) for parts in instants])
    peak = np.max(totals, axis=0)
    framework, states = job.framework.buffers, part.states
    reserved = peak * (1.0 + framework.reserved_share)
    apart = _apart(job, totals, instants[OPTIMIZER_STEP]["optimizer_transient"], reserved)
    reserved = reserved + apart
    return StageMemory(
        alive=instants,
        worst=np.argmax(totals, axis=0),
        peak=peak,
        reserved=reserved,
        apart=apart,
        used=reserved + framework.context_bytes,
        host=_moved(layouts, states, saved, "host"),
        nvme=_moved(layouts, states, saved, "nvme"),
        states=states,
        between_steps=states.parameters
        + states.optimizer
        + (0.0 if framework.gradients_freed else states.gradients),
    )


def _apart(job: Job, totals: FloatArray, update: FloatArray, rounded: FloatArray) -> FloatArray:
    """Bytes that the allocator holds beyond the ``rounded`` peak, because the update's copies, one tensor each, fit into no block
    that the passes left. It gives cached blocks back before the device is full.

    Args:
        totals: bytes alive at each of ``INSTANTS``. update: of them, the copies.
    """
    buffers = job.framework.buffers
    if not buffers.update_apart:
        return np.zeros_like(rounded)
    passes = np.max(np.delete(totals, OPTIMIZER_STEP, axis=0), axis=0) * (1.0 + buffers.reserved_share)
    room = job.cluster.accelerator.memory_bytes - buffers.context_bytes
    held: FloatArray = np.maximum(np.minimum(passes + update, room) - rounded, 0.0)
    return held


def _moved(layouts: Layouts, states: StateBytes, saved: FloatArray, tier: Tier) -> FloatArray:
    """Bytes of one device's states and activations that live on a tier."""
    values: Mapping[StateClass, FloatArray] = {
        "parameters": states.parameters,
        "gradients": states.gradients,
        "optimizer": states.optimizer,
        "activations": saved,
    }
    total = np.zeros(len(layouts))
    for state, nbytes in values.items():
        total = total + nbytes * tier_fraction(layouts, state, tier)
    return total
