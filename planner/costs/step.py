"""Time of one optimizer step: passes of every stage class, pipeline, data-parallel traffic, optimizer. Docs: docs/cost-model.md.

A rank's step is ``m`` micro-batches of its own work, the fill and drain of the other ranks, hops, its data-parallel
traffic that nothing hides, and its optimizer; the step is the longest over the ranks:
T = hops + sum of fills + max over ranks (m t - own fill + traffic + optimizer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.collectives import collective_cost
from planner.costs.kernels import optimizer_seconds
from planner.costs.offload import activation_seconds, optimizer_seconds_offloaded, parameter_seconds
from planner.costs.pipeline import fill_share, hop_count
from planner.costs.prices import PriceRows
from planner.costs.replicas import TRAFFIC_KNOBS, Exposed, Flow, Occasion, exposed_traffic, replica_flows
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass, StageGroup
from planner.costs.states import (
    StateBytes,
    gradient_bytes,
    shard_groups,
    stage_elements,
    state_bytes,
    tied_elsewhere,
    tier_fraction,
)
from planner.costs.transfers import strides_of
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.layouts.mesh import Spread, spread

UPDATE_BYTES = 14.0
"""Bytes that an update moves per parameter besides its state read and written: gradient read, weight written, ..."""


@dataclass(frozen=True)
class StageTime:
    """Seconds of one member of a stage class, shape (rows,).

    Args:
        forward, backward, weight: one micro-batch; backward includes recompute and weight gradients.
        passes: all micro-batches.
        fill: what this rank adds to the others' step while the pipeline fills and drains.
        traffic: exposed data-parallel traffic; ``contention`` is the slow-down by what of it is hidden.
        offload: exposed offload traffic of the step.
        optimizer: the update; ``exchanges``: weight-gradient sums over tp; ``tied``: the tied embedding's sum over pp.
    """

    forward: FloatArray
    backward: FloatArray
    weight: FloatArray
    passes: FloatArray
    fill: FloatArray
    traffic: Exposed
    contention: FloatArray
    offload: FloatArray
    optimizer: FloatArray
    exchanges: FloatArray
    tied: FloatArray

    @property
    def busy(self) -> FloatArray:
        """Everything but waiting for other ranks."""
        exposed = sum(self.traffic.by_axis.values(), np.zeros_like(self.passes))
        return (
            self.passes
            + exposed
            + self.contention
            + self.offload
            + self.optimizer
            + self.exchanges
            + self.tied
        )


def stage_time(
    job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup, stage: StageClass
) -> StageTime:
    """Time of a stage class for the rows of a group."""
    counts = (stage.recomputed, stage.plain)
    turns = group.turns
    forward = turns * prices.total("forward_s", *counts)
    backward = turns * prices.total("backward_s", *counts)
    weight = turns * prices.total("weight_s", *counts)
    micro_batches = layouts.columns["micro_batches"].astype(np.float64)
    dense = stage_elements(
        job, layouts, stage, prices.total("dense", *counts), prices.total("expert", *counts)
    )
    expert = prices.total("expert", *counts)
    seconds = _traffic_seconds(job, layouts, stage, dense, expert)
    spare = [turns * prices.total(f"{side}_spare_s", *counts) for side in ("forward", "backward")]
    traffic = exposed_traffic(job, seconds, spare[0], spare[1], micro_batches)
    states = state_bytes(job, shard_groups(layouts), dense, expert)
    offload = _offload(job, layouts, prices, stage, states, spare[0], spare[1], micro_batches)
    return StageTime(
        forward=forward,
        backward=backward,
        weight=weight,
        passes=micro_batches * (forward + backward),
        fill=fill_share(layouts.columns["schedule"], layouts.columns["vpp"], forward, backward, weight),
        traffic=traffic,
        contention=job.framework.overlap_slowdown * traffic.hidden_s,
        offload=offload + optimizer_seconds_offloaded(job, layouts, states),
        optimizer=_update(job, layouts, dense, expert)
        + job.framework.host.step_s * (not job.training.capture),
        exchanges=prices.total("step_exchange_s", *counts),
        tied=_tied(job, layouts, stage),
    )


def stage_flows(
    job: Job, layouts: Layouts, stage: StageClass, dense: FloatArray, expert: FloatArray
) -> tuple[Flow, ...]:
    """Data-parallel collectives of a stage; every layer (or other block) is gathered on its own."""
    units = sum(stage.recomputed.values()) + sum(stage.plain.values())
    return replica_flows(job, layouts, shard_groups(layouts), dense, expert, units)


def _traffic_seconds(
    job: Job, layouts: Layouts, stage: StageClass, dense: FloatArray, expert: FloatArray
) -> Mapping[tuple[str, Occasion], FloatArray]:
    """(axis, occasion) -> seconds, computed on the distinct rows only."""
    first, inverse = layouts.unique(TRAFFIC_KNOBS)
    flows = stage_flows(job, layouts.take(first), stage, dense[first], expert[first])
    seconds: dict[tuple[str, Occasion], FloatArray] = {}
    for flow in flows:
        key = (flow.axis, flow.occasion)
        seconds[key] = seconds[key] + flow.seconds if key in seconds else flow.seconds
    return {key: value[inverse] for key, value in seconds.items()}


def _update(job: Job, layouts: Layouts, dense: FloatArray, expert: FloatArray) -> FloatArray:
    """Seconds of the optimizer on the part of the parameters that this rank updates."""
    groups = shard_groups(layouts)
    mine = dense / groups.optimizer + expert / groups.expert_optimizer
    states = state_bytes(job, groups, dense, expert)
    moved = mine * UPDATE_BYTES + 2.0 * states.optimizer
    apart = 1.0 if job.training.compile or "optimizer" in job.framework.fusions else 2.0
    return optimizer_seconds(apart * moved, job.cluster.accelerator) * tier_fraction(
        layouts, "optimizer", "hbm"
    )


def _tied(job: Job, layouts: Layouts, stage: StageClass) -> FloatArray:
    """Sum of a tied table's gradient between its owner's stage and the stage that holds a copy."""
    model = job.model
    total = np.zeros(len(layouts))
    if not (layouts.columns["pp"] > 1).any():
        return total
    owned = {*stage.recomputed, *stage.plain}
    copies = tied_elsewhere(model, stage)
    everywhere = {p.tied_to for b in model.blocks.values() for p in b.parameters.values() if p.tied_to}
    here = [
        p
        for name in owned
        for p in model.blocks[name].parameters.values()
        if p.tied_to is None and p.name in everywhere
    ]
    users = {name for name, b in model.blocks.items() for p in b.parameters.values() if p.tied_to}
    sources = [] if users <= owned else here
    reach = _ends(layouts, job)
    for parameter in (*copies, *sources):
        nbytes = local_parameter(parameter.axes, layouts) * gradient_bytes(job)[1]
        total = total + collective_cost("all_reduce", nbytes, reach, job.cluster).seconds
    return total


def _ends(layouts: Layouts, job: Job) -> Spread:
    """The pair of the first and the last pipeline rank: they share a domain where the whole axis does."""
    axis = spread(layouts.columns["pp"], strides_of(layouts)["pp"], job.cluster)
    return Spread(np.minimum(axis.size, 2), axis.stride, axis.devices, np.minimum(axis.domains, 2))


def _offload(
    job: Job,
    layouts: Layouts,
    prices: PriceRows,
    stage: StageClass,
    states: StateBytes,
    forward_spare: FloatArray,
    backward_spare: FloatArray,
    micro_batches: FloatArray,
) -> FloatArray:
    """Exposed seconds per step of activations (out in forward, back in backward) and parameters fetched for each pass."""
    saved = prices.total("saved", stage.recomputed, stage.plain)
    fetch = parameter_seconds(job, layouts, states)
    share = float(job.training.overlap.get("offload", job.framework.hidden.offload))
    out = activation_seconds(job, layouts, saved) + fetch
    exposed = np.zeros(len(layouts))
    for spare in (forward_spare, backward_spare):
        exposed = exposed + out - np.minimum(share * out, spare)
    return exposed * micro_batches


@dataclass(frozen=True)
class StepTime:
    """Step of every row: total, and the parts that belong to no single stage class, shape (rows,)."""

    total: FloatArray
    hops: FloatArray
    busiest: FloatArray
    stages: tuple[StageTime, ...]


def step_time(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> StepTime:
    """Step time of the rows of a group.

    Returns:
        total seconds, exposed hop seconds, and the index of the stage class whose rank is busiest.
    """
    stages = tuple(stage_time(job, layouts, prices, group, stage) for stage in group.classes)
    hops = _hops(job, layouts, prices, group)
    fills = sum(
        (s.count * t.fill for s, t in zip(group.classes, stages, strict=True)), np.zeros(len(layouts))
    )
    fills = np.where(layouts.columns["pp"] > 1, fills, 0.0)
    candidates = np.stack([t.busy - np.where(layouts.columns["pp"] > 1, t.fill, 0.0) for t in stages])
    busiest = np.argmax(np.stack([t.busy for t in stages]), axis=0)
    return StepTime(np.max(candidates, axis=0) + fills + hops, hops, busiest.astype(float), stages)


def hop_seconds(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> FloatArray:
    """Seconds of one hop: the residual stream of one micro-batch to the next pipeline rank."""
    stream = np.zeros(len(layouts))
    for stage in group.classes:
        stream = np.maximum(stream, prices.largest(("stream",), stage.recomputed, stage.plain))
    names = ("pp", "tp", "sp", "ulysses", "ring", "dp", "micro_batch", "axis_order")
    first, inverse = layouts.unique(names)
    small = layouts.take(first)
    reach = spread(small.columns["pp"], strides_of(small)["pp"], job.cluster)
    cost = collective_cost("send_recv", stream[first], reach, job.cluster)
    return cost.seconds[inverse]


def _hops(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> FloatArray:
    if group.pp == 1:
        return np.zeros(len(layouts))
    c = layouts.columns
    share = 1.0 - float(job.training.overlap.get("pp", job.framework.hidden.pp))
    count = hop_count(c["schedule"], c["pp"], c["vpp"], c["micro_batches"])
    return share * count * hop_seconds(job, layouts, prices, group)
