"""A simulated step in the shape of a prediction, so that both can be compared and read alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from planner.costs.assemble import assemble
from planner.costs.breakdown import rank_flops
from planner.costs.evaluate import fits
from planner.costs.memory import stage_memory
from planner.costs.rank_communication import Traffic, rank_communication, traffic_of
from planner.jobs.prediction import MemoryBreakdown, Prediction, RankPrediction
from planner.jobs.types import Job
from planner.simulator.analysis.memory import MemoryTimeline, memory_timelines
from planner.simulator.analysis.time_classes import TimeClasses, time_classes
from planner.simulator.lowering.finish import stage_group
from planner.simulator.schedules.schedule import Integers, Kind
from planner.simulator.simulation import Simulation


def to_prediction(simulation: Simulation, *, rank: int | None = None) -> Prediction:
    """The prediction of one layout with the simulated times and memory.

    Of every pipeline rank the device that is busiest stands for all. FLOPs and transfers are those of the cost model.
    """
    classes = time_classes(simulation.program, simulation.execution)
    chosen = busiest_actors(simulation, classes)
    memories = rank_memory(simulation, chosen)
    priced = simulation.priced[0]
    traffic = traffic_of(simulation.job, priced.row, priced.prices, stage_group(priced))
    ranks = tuple(
        _rank(simulation, classes, traffic, place, actor, memory)
        for place, (actor, memory) in enumerate(zip(chosen, memories, strict=True))
    )
    top = max(ranks, key=lambda item: (item.time.total_s - item.time.bubble_s, -item.pipeline_rank))
    fullest = max(ranks, key=lambda item: item.memory.peak_bytes)
    by_rank = tuple(item.memory.peak_bytes for item in ranks)
    memory = dataclasses.replace(
        fullest.memory, by_rank=by_rank, fits=all(item.memory.fits for item in ranks)
    )
    result = assemble(
        _job(simulation),
        simulation.layout,
        rank,
        simulation.step_time_s,
        top,
        memory,
        ranks,
        _executed(simulation),
    )
    return dataclasses.replace(result, evidence=("simulated: events, shared links", *result.evidence))


def busiest_actors(simulation: Simulation, classes: TimeClasses) -> list[int]:
    """By pipeline rank, the device that is busiest."""
    ranks = [
        np.flatnonzero(simulation.actors.pipeline_rank == place) for place in range(simulation.layout.pp)
    ]
    return [int(mine[np.argmax(classes.busy[mine])]) for mine in ranks]


def rank_memory(simulation: Simulation, actors: Sequence[int]) -> tuple[MemoryTimeline, ...]:
    """Memory over time of some actors."""
    return memory_timelines(
        simulation.program,
        simulation.execution,
        simulation.schedule,
        simulation.stages,
        simulation.ranks,
        simulation.actors.pipeline_rank.tolist(),
        actors,
    )


def _rank(
    simulation: Simulation,
    classes: TimeClasses,
    traffic: Traffic,
    place: int,
    actor: int,
    timeline: MemoryTimeline,
) -> RankPrediction:
    job, priced = simulation.job, simulation.priced[0]
    stage, group = priced.ranks[place], stage_group(priced)
    time = classes.breakdown(actor, _recompute_s(simulation, place))
    return RankPrediction(
        pipeline_rank=place,
        virtual_stages=stage.virtual_stages,
        layers=stage.layers(job.model),
        flops=rank_flops(priced.row, priced.prices, stage, group)[0],
        time=time,
        memory=_memory(simulation, place, timeline),
        communication=rank_communication(job, priced.row, priced.prices, group, stage, time, traffic),
    )


def _memory(simulation: Simulation, place: int, timeline: MemoryTimeline) -> MemoryBreakdown:
    job, priced = simulation.job, simulation.priced[0]
    buffers = job.framework.buffers
    peak = timeline.peak_bytes
    below = stage_memory(job, priced.row, priced.prices, priced.ranks[place])
    reserved = peak * (1.0 + buffers.reserved_share) + float(below.apart[0])
    used = reserved + buffers.context_bytes
    capacity = job.cluster.accelerator.memory_bytes
    return MemoryBreakdown(
        capacity_bytes=capacity,
        peak_bytes=peak,
        reserved_bytes=reserved,
        device_used_bytes=used,
        reserve_bytes=job.search.memory_reserve * capacity,
        fits=bool(fits(job, np.array([used]), below.host, below.nvme)[0]),
        peak_at=timeline.peak_at,
        by_class=timeline.at_peak(),
    )


def _recompute_s(simulation: Simulation, place: int) -> float:
    """Repeated forward work of a rank's passes."""
    schedule = simulation.schedule
    actions = schedule.actions[place]
    total = 0.0
    for kinds, stages, micro_batches in (
        ((Kind.B, Kind.I), actions.stage, actions.micro_batch),
        ((Kind.OVERLAP_F_B,), actions.stage2, actions.micro_batch2),
    ):
        rows = np.flatnonzero(np.isin(actions.kind, kinds))
        total += _repeated(simulation, stages[rows], micro_batches[rows])
    return total / schedule.slices


def _repeated(simulation: Simulation, stages: Integers, micro_batches: Integers) -> float:
    model_stage = simulation.schedule.model_stage
    seconds = np.array(
        [
            [sum(block.backward.recompute_s for block in stage.blocks) for stage in priced.stages]
            for priced in simulation.priced
        ]
    )
    return float(seconds[simulation.length_of[micro_batches], model_stage[stages]].sum())


def _job(simulation: Simulation) -> Job:
    """The job with the mean length of its micro-batches."""
    lengths = simulation.options.lengths
    if lengths is None:
        return simulation.job
    training = dataclasses.replace(simulation.job.training, seq_len=round(sum(lengths) / len(lengths)))
    return dataclasses.replace(simulation.job, training=training)


def _executed(simulation: Simulation) -> float:
    """FLOPs with recompute over those without."""
    priced = simulation.priced[0]
    group = stage_group(priced)
    flops: Sequence[tuple[float, float]] = [
        rank_flops(priced.row, priced.prices, stage, group) for stage in priced.ranks
    ]
    return sum(total for total, _ in flops) / sum(total - again for total, again in flops)
