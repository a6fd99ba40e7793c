"""Readings whose schedule has no closed form: one event simulation each."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from planner.errors import PlannerError
from planner.jobs.framework import Feature
from planner.jobs.prediction import MemoryBreakdown, Prediction, RankPrediction
from planner.jobs.types import Job
from planner.layouts.layout import NAMED_SCHEDULES
from planner.simulator.prediction import to_prediction
from planner.simulator.simulation import simulate
from planner.validation.runs.express import Variant
from planner.validation.runs.readings import RankMemory, Reading


def simulated_reading(variant: Variant) -> Reading | str:
    """The reading of a variant by simulation, or why it cannot be simulated."""
    try:
        prediction = to_prediction(simulate(_launchable(variant.job), variant.layout))
    except PlannerError as error:
        return f"feature: simulation of this layout: {error.message}"
    return Reading(
        variant,
        prediction.step_time_s,
        prediction.interval_s,
        _parts(prediction),
        prediction.memory.device_used_bytes,
        prediction.memory.fits,
        tuple(_rank(rank) for rank in prediction.ranks),
    )


def _launchable(job: Job) -> Job:
    """The job under a profile that launches everything: the run was published, so it ran."""
    everything = {
        "schedules": NAMED_SCHEDULES,
        "features": frozenset(get_args(Feature)),
        "zero_stages": (0, 1, 2, 3),
        "pipeline_zero_stages": None,
    }
    return replace(job, framework=job.framework.model_copy(update=everything))


def _parts(prediction: Prediction) -> dict[str, float]:
    time = prediction.time
    return {
        "compute": time.compute_s,
        "communication": sum(time.exposed.values()),
        "host": time.host_s,
        "optimizer": time.optimizer_s,
        "bubble": time.bubble_s,
    }


def _rank(rank: RankPrediction) -> RankMemory:
    memory: MemoryBreakdown = rank.memory
    states = sum(memory.by_class[name] for name in ("parameters", "gradients", "optimizer"))
    return RankMemory(
        peak_bytes=memory.peak_bytes,
        reserved_bytes=memory.reserved_bytes,
        device_used_bytes=memory.device_used_bytes,
        after_step_bytes=states,
        first_step_peak_bytes=memory.peak_bytes,
        passes_bytes=memory.peak_bytes,
        passes_reserved_bytes=memory.reserved_bytes,
    )
