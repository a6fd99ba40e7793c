"""A plan over several groups: its segments, and every stage's time and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planner.costs.assemble import CONVENTION
from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.costs.predict import predict
from planner.jobs.prediction import MemoryBreakdown, Prediction, TimeBreakdown
from planner.layouts.layout import Layout
from planner.solvers.mixed.group_times import with_batch
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.shares import Shares

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
        simulated_step_s: of a pipeline over groups, its passes and hops played in the order of its schedule; else None.
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
    simulated_step_s: float | None = None

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
            "simulated_step_time_s": self.simulated_step_s,
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
    simulated_s: float | None = None,
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
        simulated_s,
    )
