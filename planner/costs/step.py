"""Time of one optimizer step: passes of every stage class, pipeline, data-parallel traffic, optimizer. Docs: docs/cost-model.md.

A rank's step is ``m`` micro-batches of its own work, the fill and drain of the other ranks, hops, its data-parallel
traffic that nothing hides, and its optimizer; the step is the longest over the ranks:
T = hops + max over ranks (m t + wait + traffic + optimizer).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.collectives import CollectiveCost, collective_cost
from planner.costs.elements import stored_elements
from planner.costs.hops import exposed_hops
from planner.costs.offload import activation_seconds, optimizer_seconds_offloaded, parameter_seconds
from planner.costs.optimizer import update_seconds
from planner.costs.overlap import Chunks, Exposed, Traffic, exposed_traffic
from planner.costs.pipeline import passes_left, splits_backward, waiting
from planner.costs.prices import PriceRows
from planner.costs.replicas import TRAFFIC_KNOBS, Flow, Occasion, flows_of_ranks
from planner.costs.shard_units import stage_parts
from planner.costs.sizes import FloatArray, local_parameter
from planner.costs.stages import StageClass, StageGroup
from planner.costs.states import (
    Groups,
    StateBytes,
    gradient_bytes,
    moves_states,
    shard_groups,
    shared_with_others,
    spread_states,
    state_bytes,
    tied_elsewhere,
    tier_fraction,
)
from planner.costs.transfers import strides_of
from planner.jobs.types import Job
from planner.layouts.layout import Offload
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.mesh import Spread, spread


@dataclass(frozen=True)
class StageTime:
    """Seconds of one member of a stage class, shape (rows,).

    Args:
        forward, backward, weight: one micro-batch; backward includes recompute and weight gradients.
        passes: all micro-batches.
        paced: forward and backward of one micro-batch with the traffic and offload that it waits for.
        traffic: exposed data-parallel traffic; ``contention`` is the slow-down by what of it is hidden.
        offload: exposed offload traffic of the step.
        optimizer: the update; ``exchanges``: weight-gradient sums over tp; ``tied``: the tied embedding's sum over pp.
    """

    forward: FloatArray
    backward: FloatArray
    weight: FloatArray
    passes: FloatArray
    paced: tuple[FloatArray, FloatArray]
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


@dataclass(frozen=True)
class _Distinct:
    """Rows that differ in what data-parallel traffic and the optimizer depend on; ``inverse`` spreads them again."""

    layouts: Layouts
    first: IntArray
    inverse: IntArray
    groups: Groups

    @staticmethod
    def of(job: Job, layouts: Layouts) -> _Distinct:
        more = () if job.framework.stage_three is None else ("recompute",)
        first, inverse = layouts.unique((*TRAFFIC_KNOBS, *more))
        small = layouts.take(first)
        return _Distinct(small, first, inverse, shard_groups(small))


def pass_seconds(
    layouts: Layouts,
    prices: PriceRows,
    group: StageGroup,
    counts: tuple[Mapping[str, int], Mapping[str, int]],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Seconds of one micro-batch: forward, backward, and what of backward is weight gradients.

    Args:
        counts: instances of the blocks that follow the recompute policy, and of those that do not.
    """
    forward = group.turns * prices.total("forward_s", *counts)
    backward = group.turns * _backward_or(prices, layouts, "backward_s", counts)
    return forward, backward, group.turns * prices.total("weight_s", *counts)


def _backward_or(
    prices: PriceRows, layouts: Layouts, quantity: str, counts: tuple[Mapping[str, int], Mapping[str, int]]
) -> FloatArray:
    """A quantity of a pass; of the backward pass as the row's schedule runs it, fused or split."""
    fused = prices.total(quantity, *counts)
    split = splits_backward(layouts.columns["schedule"])
    if not quantity.startswith("backward") or not split.any():
        return fused
    return np.where(split, prices.total(f"split_{quantity}", *counts), fused)


def stage_time(
    job: Job,
    layouts: Layouts,
    prices: PriceRows,
    group: StageGroup,
    stage: StageClass,
    distinct: _Distinct,
    flows: Sequence[Flow],
) -> StageTime:
    """Time of a stage class for the rows of a group.

    Args:
        flows: its data-parallel traffic, of the distinct rows.
    """
    counts = (stage.recomputed, stage.plain)
    forward, backward, weight = pass_seconds(layouts, prices, group, counts)
    spare = [
        group.turns * _backward_or(prices, layouts, f"{side}_spare_s", counts)
        for side in ("forward", "backward")
    ]
    c = layouts.columns
    micro_batches = c["micro_batches"].astype(np.float64)
    often = passes_left(c["schedule"], c["pp"], c["vpp"], c["micro_batches"])
    traffic = exposed_traffic(
        job,
        _traffic(distinct, flows),
        spare[0],
        spare[1],
        micro_batches,
        stage.units,
        Chunks(np.maximum(c["vpp"], 1), often),
    )
    own = prices.take(distinct.first)
    small = state_bytes(job, distinct.groups, *stored_elements(job, distinct.layouts, own, stage))
    states = spread_states(small, distinct.inverse) if moves_states(layouts) else None
    slowdown = job.framework.overlap_slowdown
    paced = (forward + traffic.waits["forward"], backward + traffic.waits["backward"])
    slowed = {moment: slowdown * seconds for moment, seconds in traffic.hidden.items()}
    windows = (
        (paced[0], slowed["forward"], traffic.waits["first"] + slowed["first"]),
        (paced[1], slowed["backward"], traffic.waits["last"] + slowed["last"]),
    )
    offload, stalls = _offload(job, layouts, prices, stage, states, windows, micro_batches, often)
    update = update_seconds(job, distinct.layouts, stage, distinct.groups, small)[
        distinct.inverse
    ] * tier_fraction(layouts, "optimizer", "hbm")
    return StageTime(
        forward=forward,
        backward=backward,
        weight=weight,
        passes=micro_batches * (forward + backward),
        paced=(paced[0] + stalls[0], paced[1] + stalls[1]),
        traffic=traffic,
        contention=slowdown * traffic.hidden_s,
        offload=offload,
        optimizer=update + job.framework.host.step_s * (job.training.capture is not True),
        exchanges=prices.total("step_exchange_s", *counts),
        tied=_tied(job, distinct.layouts, stage)[distinct.inverse],
    )


def _traffic(distinct: _Distinct, flows: Sequence[Flow]) -> Mapping[tuple[str, Occasion], Traffic]:
    """(axis, occasion) -> traffic of one occasion, shape (rows,)."""
    result: dict[tuple[str, Occasion], Traffic] = {}
    for flow in flows:
        key = (flow.axis, flow.occasion)
        known = result.get(key, Traffic(0.0, 0.0))
        result[key] = Traffic(known.seconds + flow.seconds, known.copies_s + flow.copies_s)
    return {
        key: Traffic(*(np.asarray(part)[distinct.inverse] for part in value)) for key, value in result.items()
    }


def _tied(job: Job, layouts: Layouts, stage: StageClass) -> FloatArray:
    """Seconds of ``tied_sums``."""
    return sum((cost.seconds for cost in tied_sums(job, layouts, stage)), np.zeros(len(layouts)))


def tied_sums(job: Job, layouts: Layouts, stage: StageClass) -> list[CollectiveCost]:
    """Sums of tied tables' gradients between their owner's stage and the stage that holds a copy."""
    sizes = tied_bytes(job, layouts, stage)
    if not sizes:
        return []
    reach = ends_of(layouts, job)
    return [collective_cost("all_reduce", nbytes, reach, job.cluster) for nbytes in sizes]


def tied_bytes(job: Job, layouts: Layouts, stage: StageClass) -> list[FloatArray]:
    """Bytes of each of ``tied_sums``."""
    if not (layouts.columns["pp"] > 1).any():
        return []
    shared = (*tied_elsewhere(job.model, stage), *shared_with_others(job.model, stage))
    wire = gradient_bytes(job)[1]
    return [local_parameter(parameter.axes, layouts) * wire for parameter in shared]


def ends_of(layouts: Layouts, job: Job) -> Spread:
    """The pair of the first and the last pipeline rank: they share a domain where the whole axis does."""
    axis = spread(layouts.columns["pp"], strides_of(layouts)["pp"], job.cluster)
    return Spread(np.minimum(axis.size, 2), axis.stride, axis.devices, np.minimum(axis.domains, 2))


def _offload(
    job: Job,
    layouts: Layouts,
    prices: PriceRows,
    stage: StageClass,
    states: StateBytes | None,
    windows: tuple[tuple[FloatArray, FloatArray, FloatArray], ...],
    micro_batches: FloatArray,
    often: FloatArray,
) -> tuple[FloatArray, list[FloatArray]]:
    """Exposed seconds per step, and by how much a micro-batch's forward and backward set the pace later: activations (out in
    forward, back in backward), parameters fetched for each pass, and the optimizer's state streamed through.

    ``windows``: of a micro-batch's forward and backward, the whole pass with its wait for data-parallel traffic (the host link
    is not the network: both transfer at the same time), by how much hidden traffic slows it down, and what the first forwards
    and the last backwards of the step take besides; ``often``: how many of these there are (``pipeline.passes_left``).
    """
    if not any(policy != Offload() for policy in layouts.offload):
        return np.zeros(len(layouts)), [np.zeros(len(layouts))] * 2
    saved = prices.total("saved", stage.recomputed, stage.plain)
    out = activation_seconds(job, layouts, saved)
    step = np.zeros(len(layouts))
    if states is not None:
        out = out + parameter_seconds(job, layouts, states)
        step = optimizer_seconds_offloaded(job, layouts, states)
    share = float(job.training.overlap.get("offload", job.framework.hidden.offload))
    exposed = step
    for paced, slowed, once in windows:
        stall = out - np.minimum(share * out, paced + slowed)
        beside = out - np.minimum(share * out, paced + slowed + once / often)
        exposed = exposed + (micro_batches - often) * stall + often * beside
    return exposed, [out - np.minimum(share * out, paced) for paced, _, _ in windows]


def beside_others(passes: FloatArray, wait: FloatArray, sharing: float) -> FloatArray:
    """Seconds that a rank waits in a pipeline whose ranks share cores.

    Passes are priced with all processes busy. A rank that waits leaves its core to the others, so the pipeline takes the
    longer of its work and of its longest path at the speed of a core of one's own (Graham's two bounds of list schedules,
    SIAM J. Appl. Math. 17, 1969).

    Args:
        passes: of the rank; wait: with cores of their own; sharing: processes per core.
    """
    return wait if sharing == 1.0 else np.maximum((passes + wait) / sharing - passes, 0.0)


@dataclass(frozen=True)
class StepTime:
    """Step of every row: total, and the parts that belong to no single stage class, shape (rows,)."""

    total: FloatArray
    hops: FloatArray
    busiest: FloatArray
    stages: tuple[StageTime, ...]


def stage_times(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> tuple[StageTime, ...]:
    """Seconds of every stage class of a group by itself."""
    distinct = _Distinct.of(job, layouts)
    own = prices.take(distinct.first)
    different = {stage.owned: stage for stage in reversed(group.classes)}
    parts = [stage_parts(job, distinct.layouts, own, stage).whole for stage in different.values()]
    flows = flows_of_ranks(job, distinct.layouts, distinct.groups, parts)
    times = {
        owned: stage_time(job, layouts, prices, group, stage, distinct, sent)
        for (owned, stage), sent in zip(different.items(), flows, strict=True)
    }
    return tuple(times[stage.owned] for stage in group.classes)


def step_time(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> StepTime:
    """Step time of the rows of a group.

    Returns:
        total seconds, exposed hop seconds, and the index of the stage class whose rank is busiest.
    """
    stages = stage_times(job, layouts, prices, group)
    passes = [(*t.paced, t.weight) for t in stages]
    waits = [
        beside_others(time.passes, wait, job.cluster.devices_per_core)
        for time, wait in zip(
            stages, waiting(layouts.columns, [stage.ranks for stage in group.classes], passes), strict=True
        )
    ]
    pipeline = np.max(
        np.stack([time.passes + wait for time, wait in zip(stages, waits, strict=True)]), axis=0
    )
    hops = exposed_hops(job, layouts, prices, group, pipeline)
    candidates = np.stack([time.busy + wait for time, wait in zip(stages, waits, strict=True)])
    busiest = np.argmax(np.stack([t.busy for t in stages]), axis=0)
    return StepTime(np.max(candidates, axis=0) + hops, hops, busiest.astype(float), stages)
