"""Peak memory of one device by class: which instant is worst, and what is alive then. Docs: docs/memory.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.pipeline import in_flight, keeps_logits
from planner.costs.prices import PriceRows
from planner.costs.saved import logit_bytes
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass
from planner.costs.states import (
    Groups,
    StateBytes,
    shard_groups,
    stage_elements,
    state_bytes,
    tier_fraction,
    updated_elements,
)
from planner.jobs.prediction import MEMORY_CLASSES
from planner.jobs.types import Job
from planner.layouts.layout import StateClass, Tier
from planner.layouts.layouts import IntArray, Layouts

INSTANTS = ("layer backward", "head backward", "optimizer step")
LOGIT_GRADIENT_BYTES = 2.0
"""Bytes per logit of the gradient that the head's matmuls read."""

SCRATCH_BYTES = 2.0
"""Transformer Engine keeps one 16-bit weight gradient per distinct weight shape while it accumulates in fp32."""


@dataclass(frozen=True)
class StageMemory:
    """Memory of the worst member of a stage class, shape (rows,).

    Args:
        alive: for each of ``INSTANTS``, class -> bytes alive then.
        worst: index of the worst instant.
        peak, reserved, used: allocated; with allocator rounding and fragmentation; with context.
        host, nvme: bytes of one device's states and activations on those tiers.
        states: persistent states before offload.
        between_steps: of them, bytes that stay alive from one step to the next.
    """

    alive: Sequence[Mapping[str, FloatArray]]
    worst: IntArray
    peak: FloatArray
    reserved: FloatArray
    used: FloatArray
    host: FloatArray
    nvme: FloatArray
    states: StateBytes
    between_steps: FloatArray

    def by_class(self, row: int) -> dict[str, float]:
        """Class -> bytes of one row at its worst instant; they add up to its ``peak``."""
        parts = self.alive[int(self.worst[row])]
        return {name: float(parts[name][row]) for name in MEMORY_CLASSES}


def stage_memory(job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass) -> StageMemory:
    """Peak memory of a stage class.

    Args:
        layouts, prices: rows that share the stage's blocks.
        stage: its first rank holds most micro-batches in flight.
    """
    counts = (stage.recomputed, stage.plain)
    c = layouts.columns
    dense = stage_elements(job, layouts, stage, prices.total("dense", *counts))
    expert = prices.total("expert", *counts)
    groups = shard_groups(layouts)
    states = state_bytes(job, groups, dense, expert)
    flight = in_flight(c["schedule"], c["pp"], c["vpp"], c["micro_batches"], stage.ranks[0])
    saved = flight * prices.total("saved", *counts)
    moved = 1.0 - tier_fraction(layouts, "activations", "hbm")
    buffers = 2.0 * moved * prices.largest(("saved",), *counts)
    activations = saved * (1.0 - moved) + np.minimum(buffers, saved)
    layers = _only(job, stage, "layer")
    moment = prices.largest(("again", "moment"), *layers) if any(layers) else np.zeros(len(layouts))
    head = _only(job, stage, "head")
    logits = prices.total("logits", *head) * np.where(keeps_logits(c["schedule"]), c["micro_batches"], 1.0)
    instants = _instants(job, layouts, prices, stage, groups, states, activations, moment, logits, head)
    totals = np.stack([sum(parts.values(), np.zeros(len(layouts))) for parts in instants])
    worst = np.argmax(totals, axis=0)
    peak = np.max(totals, axis=0)
    framework = job.framework.buffers
    reserved = peak * (1.0 + framework.reserved_share)
    off = {tier: _moved(layouts, states, saved, tier) for tier in ("host", "nvme")}
    return StageMemory(
        instants,
        worst,
        peak,
        reserved,
        reserved + framework.context_bytes,
        off["host"],
        off["nvme"],
        states,
        states.parameters + states.optimizer + (0.0 if framework.gradients_freed else states.gradients),
    )


def _only(job: Job, stage: StageClass, kind: str) -> tuple[dict[str, int], dict[str, int]]:
    def chosen(counts: Mapping[str, int]) -> dict[str, int]:
        return {name: n for name, n in counts.items() if job.model.blocks[name].kind == kind}

    return chosen(stage.recomputed), chosen(stage.plain)


def _instants(
    job: Job,
    layouts: Layouts,
    prices: PriceRows,
    stage: StageClass,
    groups: Groups,
    states: StateBytes,
    activations: FloatArray,
    moment: FloatArray,
    logits: FloatArray,
    head: tuple[dict[str, int], dict[str, int]],
) -> list[dict[str, FloatArray]]:
    """What is alive at each candidate for the worst instant, by class."""
    buffers = job.framework.buffers
    law = job.framework.state_law(job.training.precision)
    zero = np.zeros(len(layouts))
    counts = (stage.recomputed, stage.plain)
    unit = prices.largest(("dense", "expert"), *counts)
    inner = prices.largest(("dense", "expert"), *_only(job, stage, "layer"))
    gathered = _gathered(
        law.gathered, law.parameters, unit + np.where(inner > 0, inner, unit), groups, states
    )
    whole = _whole_gradients(job, groups, unit)
    gradients = _stored_gradients(job, layouts, stage, states)
    # dropped by the update, made anew by one micro-batch: they grow while activations go, so the worst moment has either
    # all activations and no gradient, or one layer's activations and all gradients
    fresh = (layouts.columns["micro_batches"] == 1) & buffers.gradients_freed
    grown = np.where(fresh, np.maximum(gradients - activations * (1.0 - 1.0 / max(stage.units, 1)), 0.0), 0.0)
    kept = tier_fraction(layouts, "parameters", "hbm")
    staged = np.minimum(2.0 * unit * law.gathered / groups.dense.parameters, states.parameters)
    common = {
        "parameters": states.parameters * kept + staged * (1.0 - kept),
        "gradients": np.where(fresh, 0.0, gradients),
        "optimizer": states.optimizer * tier_fraction(layouts, "optimizer", "hbm"),
        "gathered_parameters": gathered,
        "activations": activations,
        "transient": zero,
        "logits": zero,
        "communication_buffers": _communication(job, layouts, prices, stage, groups, states),
        "optimizer_transient": zero,
    }
    # the head's weight gradient is made when only the 16-bit gradient of its logits is left
    left = logits * np.minimum(1.0, LOGIT_GRADIENT_BYTES / logit_bytes(job))
    after_loss = np.maximum(whole - (logits - left), 0.0)
    at_head = common | {"transient": prices.total("moment", *head) + after_loss, "logits": logits}
    resident = np.minimum(gathered, np.where(groups.dense.parameters > 1, 0.0, gathered))
    copy = law.update * updated_elements(states, groups)
    step = common | {
        "gradients": gradients,
        "activations": zero,
        "gathered_parameters": resident,
        "optimizer_transient": copy * tier_fraction(layouts, "optimizer", "hbm"),
    }
    layer = common | {"transient": moment + whole + grown}
    return [layer, at_head if any(head) else layer, step]


def _stored_gradients(job: Job, layouts: Layouts, stage: StageClass, states: StateBytes) -> FloatArray:
    """Gradients once backward has passed every layer, with the scratch of fused accumulation."""
    stored = states.gradients * tier_fraction(layouts, "gradients", "hbm")
    if job.framework.buffers.gradient_scratch == "distinct_shapes":
        return stored + SCRATCH_BYTES * _scratch(job, stage, layouts)
    return stored


def _whole_gradients(job: Job, groups: Groups, unit: FloatArray) -> FloatArray:
    """Gradients of one unit before they are scattered."""
    law = job.framework.state_law(job.training.precision)
    if job.framework.buffers.gradient_scratch != "unsharded_unit":
        return np.zeros_like(unit)
    return np.where(groups.dense.gradients > 1, unit * law.reduced, 0.0)


def _communication(
    job: Job, layouts: Layouts, prices: PriceRows, stage: StageClass, groups: Groups, states: StateBytes
) -> FloatArray:
    """Two gradient buckets, none larger than the rank's gradients, and the messages of the pipeline."""
    replicas = (groups.dense.replicas > 1) | (groups.expert.replicas > 1)
    law = job.framework.state_law(job.training.precision)
    bucket = float(job.training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes))
    travelling = law.reduced * (states.dense_elements + states.expert_elements)
    buckets = np.where(replicas, 2.0 * np.minimum(bucket, travelling), 0.0)
    messages = 2.0 * prices.largest(("stream",), stage.recomputed, stage.plain)
    return buckets + np.where(layouts.columns["pp"] > 1, messages, 0.0)


def _gathered(
    width: float, stored: float, units: FloatArray, groups: Groups, states: StateBytes
) -> FloatArray:
    """Gathered parameters: the largest unit and a layer ahead of it when shards are gathered unit by unit, all when a
    16-bit copy stays.
    """
    whole = width * (states.dense_elements + states.expert_elements)
    copies = np.where((stored > width) & (groups.dense.optimizer > 1), whole, 0.0)
    return np.where(groups.dense.parameters > 1, np.minimum(units * width, whole), copies)


def _scratch(job: Job, stage: StageClass, layouts: Layouts) -> FloatArray:
    """Local elements of the distinct matrix shapes of a stage, one expert at a time."""
    total = np.zeros(len(layouts))
    seen: set[tuple[object, ...]] = set()
    for name in {**stage.recomputed, **stage.plain}:
        block = job.model.blocks[name]
        for operator in block.operators:
            if operator.kind != "einsum":
                continue
            axes = tuple(a for a in block.parameters[operator.parameters[0]].axes if a.name != "experts")
            if axes not in seen:
                seen.add(axes)
                total = total + local_parameter(axes, layouts)
    return total


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
