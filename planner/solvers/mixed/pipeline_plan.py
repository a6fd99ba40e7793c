"""A pipeline over groups in full: every stage's time and memory, and its step played action by action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from planner.costs.breakdown import rank_time
from planner.costs.memory import stage_memory
from planner.costs.predict import memory_breakdown
from planner.costs.prices import PriceRows, price_model
from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import StageTime
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs
from planner.layouts.layouts import Layouts
from planner.simulator.pipeline import PassSeconds, run_pipeline
from planner.simulator.schedules.generate import make_schedule
from planner.solvers.mixed.contents import Contents
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.pipelines import Pipeline
from planner.solvers.mixed.plan import MixedPlan, Segment, StagePlan, assembled
from planner.solvers.mixed.tables import held_up, in_flight_as, single_stage
from planner.solvers.mixed.ways import SCHEDULE, Ways

MOST_PASSES = 200_000
"""Passes of a step that are played."""


@dataclass(frozen=True)
class _Priced:
    """A stage with its prices: a single row of layouts."""

    job: Job
    row: Layouts
    prices: PriceRows
    content: StageClass
    time: StageTime

    @staticmethod
    def of(ways: Ways, row: int, policy: int, content: StageClass) -> _Priced:
        layout = ways.under(np.array([row]), policy)
        prices = price_model(ways.job, layout).rows(layout)
        time = single_stage(ways.job, layout, prices, content)
        return _Priced(ways.job, layout, prices, content, time)


def pipeline_plan(
    mixed: MixedJob, ways: Mapping[int, Ways], contents: Contents, found: Pipeline
) -> MixedPlan:
    """A pipeline over groups in full."""
    owners = [
        (group, row)
        for group, row, count in zip(found.order, found.ways, found.stages, strict=True)
        for _ in range(count)
    ]
    runs = zip(owners, found.policies, pairwise(found.bounds), strict=True)
    stages = [
        _Priced.of(ways[group], row, policy, contents.stages[int(contents.index[span])])
        for (group, row), policy, span in runs
    ]
    segments, first = [], 0
    for group, row, count in zip(found.order, found.ways, found.stages, strict=True):
        places = range(first, first + count)
        segments.append(_segment(mixed, group, ways[group], row, found, [(i, stages[i]) for i in places]))
        first += count
    played = _played_s(stages, found)
    return assembled(mixed, "pipeline", found.order, found.step_s, 0.0, segments, played)


def _segment(
    mixed: MixedJob,
    group: int,
    ways: Ways,
    row: int,
    found: Pipeline,
    stages: Sequence[tuple[int, _Priced]],
) -> Segment:
    plans = tuple(_stage(place, stage, found) for place, stage in stages)
    layout = replace(ways.layouts.row(row), layers_per_stage=tuple(plan.layers for plan in plans))
    knobs = dict(layout_to_knobs(layout))
    knobs.pop("recompute", None)
    own = mixed.groups[group]
    return Segment(
        own.name, own.accelerator.name, own.devices, knobs, mixed.global_batch, found.step_s, plans
    )


def _stage(place: int, stage: _Priced, found: Pipeline) -> StagePlan:
    """One stage; what its own work leaves of the step is hops first, then bubble."""
    alone = StageGroup(np.zeros(1, dtype=np.int64), 1, 1, (stage.content,), 0)
    untied = replace(stage.time, tied=np.zeros(1))
    hops = min(found.waited_s, max(found.step_s - float(held_up(stage.time)[0]), 0.0))
    flight = np.array([found.flights[place]], dtype=np.int64)
    memory = stage_memory(stage.job, in_flight_as(stage.row, flight), stage.prices, stage.content)
    return StagePlan(
        place,
        stage.content.layers(stage.job.model),
        stage.row.recompute[int(stage.row.columns["recompute"][0])].mode,
        rank_time(stage.row, stage.prices, stage.content, alone, untied, hops, found.step_s),
        memory_breakdown(stage.job, memory, 0),
    )


def _played_s(stages: Sequence[_Priced], found: Pipeline) -> float | None:
    """The step by playing every pass in the schedule's order: a rank then does what it does besides passes.

    Hops take what the framework exposes of the longest one. None where there are too many passes.
    """
    if len(stages) * found.micro_batches > MOST_PASSES:
        return None
    forward, backward = (
        np.array([[float(stage.time.paced[side][0])] for stage in stages]) for side in (0, 1)
    )
    schedule = make_schedule(SCHEDULE, ranks=len(stages), micro_batches=found.micro_batches)
    nothing = np.zeros_like(backward)
    run = run_pipeline(schedule, PassSeconds(forward, backward, backward, nothing), hop_s=found.hop_s)
    ends = np.zeros(len(stages))
    np.maximum.at(ends, run.flat.rank, run.end)
    besides = [
        float(held_up(stage.time)[0]) - found.micro_batches * float(f + b)
        for stage, f, b in zip(stages, forward[:, 0], backward[:, 0], strict=True)
    ]
    return float(np.max(ends + np.array(besides))) + found.tied_s
