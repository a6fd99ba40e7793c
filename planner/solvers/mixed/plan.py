"""A plan over several groups: its segments, and every stage's time and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from planner.costs.assemble import CONVENTION
from planner.costs.breakdown import rank_time
from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.costs.memory import stage_memory
from planner.costs.predict import memory_breakdown, predict
from planner.costs.prices import price_model
from planner.costs.stages import StageGroup
from planner.jobs.prediction import MemoryBreakdown, Prediction, TimeBreakdown
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layout import Layout
from planner.layouts.layouts import Layouts
from planner.solvers.mixed.contents import Contents
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.pipelines import Pipeline
from planner.solvers.mixed.shares import Shares, with_batch
from planner.solvers.mixed.tables import held_up, in_flight_as, single_stage
from planner.solvers.mixed.ways import Ways

Kind = Literal["pipeline", "replicas", "alone"]
"""Stages on several groups; every group the whole model and a share of the batch; one group with the others idle."""

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class StagePlan:
    """One pipeline rank.

    Args:
        stage: its place in its pipeline. layers: how many it owns. recompute: policy of its layers.
        time: its classes add up to the group's step. memory: of one device.
    """

    stage: int
    layers: int
    recompute: str
    time: TimeBreakdown
    memory: MemoryBreakdown


@dataclass(frozen=True)
class Segment:
    """What one group does.

    Args:
        group, accelerator, devices: which.
        layout: knobs; pp counts the segment's own stages.
        sequences: of each step that pass through it: all of them in a pipeline, its share as a replica.
        step_s: seconds of its own step.
    """

    group: str
    accelerator: str
    devices: int
    layout: Mapping[str, Any]
    sequences: int
    step_s: float
    stages: tuple[StagePlan, ...]

    @property
    def layers(self) -> int:
        return sum(stage.layers for stage in self.stages)


@dataclass(frozen=True)
class MixedPlan:
    """A plan and what it costs.

    Args:
        kind: how groups work together. groups: names of those that work, along the pipeline where there is one.
        step_s: seconds of an optimizer step. sum_s: of it, the sum of gradients over replicas of different groups.
        value: the objective: seconds, or the price of a step.
        mfu: model FLOPs over the peaks of the devices that work.
    """

    kind: Kind
    groups: tuple[str, ...]
    step_s: float
    sum_s: float
    value: float
    devices: int
    tokens_per_s: float
    mfu: float
    cost_per_step: float | None
    segments: tuple[Segment, ...]

    def to_json(self, rank: int | None = None) -> dict[str, Any]:
        """Plain data, in the words of a plan's JSON."""
        every = [stage for segment in self.segments for stage in segment.stages]
        busiest = max(every, key=lambda stage: stage.time.total_s - stage.time.bubble_s)
        fullest = max(every, key=lambda stage: stage.memory.device_used_bytes / stage.memory.capacity_bytes)
        return {
            "rank": rank,
            "kind": self.kind,
            "groups": list(self.groups),
            "step_time_s": self.step_s,
            "gradient_sum_s": self.sum_s,
            "tokens_per_s": self.tokens_per_s,
            "devices": self.devices,
            "mfu": self.mfu,
            "flops_convention": CONVENTION,
            "cost_per_step": self.cost_per_step,
            "time": dataclasses.asdict(busiest.time),
            "memory": dataclasses.asdict(fullest.memory),
            "segments": [dataclasses.asdict(segment) for segment in self.segments],
        }


def pipeline_plan(
    mixed: MixedJob, ways: Mapping[int, Ways], contents: Contents, found: Pipeline
) -> MixedPlan:
    """A pipeline over groups in full."""
    segments = []
    first = 0
    for group, row, count in zip(found.order, found.ways, found.stages, strict=True):
        places = range(first, first + count)
        segments.append(_segment(mixed, group, ways[group], row, contents, found, places))
        first += count
    return assembled(mixed, "pipeline", found.order, found.step_s, 0.0, segments)


def _segment(
    mixed: MixedJob,
    group: int,
    ways: Ways,
    row: int,
    contents: Contents,
    found: Pipeline,
    places: Sequence[int],
) -> Segment:
    layouts = ways.layouts.take(np.array([row]))
    spans = list(zip(found.bounds, found.bounds[1:], strict=False))
    layers = tuple(spans[place][1] - spans[place][0] for place in places)
    knobs = dict(layout_to_knobs(replace(layouts.row(0), layers_per_stage=layers)))
    knobs.pop("recompute", None)
    stages = tuple(
        _stage(ways.job, _with_policy(layouts, found.policies[place]), contents, spans[place], place, found)
        for place in places
    )
    own = mixed.groups[group]
    return Segment(
        own.name, own.accelerator.name, own.devices, knobs, mixed.global_batch, found.step_s, stages
    )


def _with_policy(layouts: Layouts, policy: int) -> Layouts:
    code = np.full(len(layouts), policy, dtype=np.int64)
    return replace(layouts, columns={**layouts.columns, "recompute": code})


def _stage(
    job: Job, row: Layouts, contents: Contents, span: tuple[int, int], place: int, found: Pipeline
) -> StagePlan:
    """One stage of a pipeline over groups; what its passes leave of the step is hops first, then bubble."""
    content = contents.stages[int(contents.index[span])]
    prices = price_model(job, row)
    rows = prices.rows(row)
    alone = StageGroup(np.zeros(1, dtype=np.int64), 1, 1, (content,), 0)
    time = single_stage(job, row, rows, content)
    untied = replace(time, tied=np.zeros(1))
    hops = min(found.waited_s, max(found.step_s - float(held_up(time)[0]), 0.0))
    flight = np.array([found.flights[place]], dtype=np.int64)
    memory = stage_memory(job, in_flight_as(row, flight), rows, content)
    return StagePlan(
        place,
        span[1] - span[0],
        row.recompute[int(row.columns["recompute"][0])].mode,
        rank_time(row, rows, content, alone, untied, hops, found.step_s),
        memory_breakdown(job, memory, 0),
    )


def shares_plan(mixed: MixedJob, found: Shares) -> MixedPlan:
    """Groups as replicas in full."""
    segments = [
        _whole(mixed, group, found.layouts[group], found.sequences[group]) for group in sorted(found.layouts)
    ]
    return assembled(mixed, "replicas", tuple(sorted(found.layouts)), found.step_s, found.sum_s, segments)


def alone_plan(mixed: MixedJob, group: int, layout: Layout) -> MixedPlan:
    """One group with the whole batch."""
    segment = _whole(mixed, group, layout, mixed.global_batch)
    return assembled(mixed, "alone", (group,), segment.step_s, 0.0, [segment])


def _whole(mixed: MixedJob, group: int, layout: Layout, sequences: int) -> Segment:
    """A group that holds the whole model."""
    own = mixed.groups[group]
    prediction = predict(with_batch(mixed.jobs[group], sequences), layout)
    return Segment(
        own.name,
        own.accelerator.name,
        own.devices,
        dict(prediction.layout),
        sequences,
        prediction.step_time_s,
        _ranks(prediction, layout),
    )


def _ranks(prediction: Prediction, layout: Layout) -> tuple[StagePlan, ...]:
    return tuple(
        StagePlan(rank.pipeline_rank, rank.layers, layout.recompute.mode, rank.time, rank.memory)
        for rank in prediction.ranks
    )


def assembled(
    mixed: MixedJob,
    kind: Kind,
    groups: tuple[int, ...],
    step_s: float,
    sum_s: float,
    segments: Sequence[Segment],
) -> MixedPlan:
    """The whole plan from its segments."""
    job = mixed.jobs[0]
    jobs = [mixed.jobs[group] for group in groups]
    peak = sum(one.devices * peak_flops(one.cluster.accelerator, one.training.precision) for one in jobs)
    price = mixed.price_per_hour(groups)
    cost = None if price is None else price * step_s / SECONDS_PER_HOUR
    return MixedPlan(
        kind,
        tuple(mixed.groups[group].name for group in groups),
        step_s,
        sum_s,
        step_s if job.search.objective == "step_time" or cost is None else cost,
        sum(one.devices for one in jobs),
        job.training.tokens_per_step / step_s,
        model_flops(job, CONVENTION) / (peak * step_s),
        cost,
        tuple(segments),
    )
