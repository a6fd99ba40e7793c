"""From the parts of a prediction to the whole: rates, utilisation, interval, evidence, budget."""

from __future__ import annotations

from collections.abc import Mapping

from planner.costs.convention import FlopsConvention, model_flops
from planner.costs.evidence import evidence_of
from planner.costs.kernels import peak_flops
from planner.costs.uncertainty import interval_of
from planner.jobs.prediction import MemoryBreakdown, Prediction, RankPrediction
from planner.jobs.types import Job
from planner.layouts.layout import Layout

CONVENTION: FlopsConvention = "causal_half"


def assemble(
    job: Job,
    layout: Layout,
    rank: int | None,
    total_s: float,
    top: RankPrediction,
    memory: MemoryBreakdown,
    ranks: tuple[RankPrediction, ...],
    executed: float,
) -> Prediction:
    """The whole prediction of one layout.

    Args:
        rank: its place in a ranking, None when it stands alone.
        total_s: the step. top: the busiest pipeline rank. memory: of the fullest.
        executed: FLOPs with recompute over those without.
    """
    tokens = job.training.tokens_per_step
    needed = model_flops(job, CONVENTION)
    peak = peak_flops(job.cluster.accelerator, job.training.precision)
    devices = layout.tp * layout.cp * layout.pp * layout.dp  # fewer than the job's when some may stay idle
    mfu = needed / (devices * peak * total_s)
    return Prediction(
        rank=rank,
        layout=dict(layout.knobs()),
        step_time_s=total_s,
        interval_s=interval_of(job, top.time, total_s, layout.cp),
        expected_step_time_s=total_s,
        goodput=1.0,
        tokens_per_s=tokens / total_s,
        tokens_per_s_per_device=tokens / total_s / devices,
        mfu=mfu,
        hfu=mfu * executed,
        model_tflops_per_device=needed / devices / total_s / 1e12,
        flops_convention=CONVENTION,
        time=top.time,
        memory=memory,
        communication=top.communication,
        flops_per_device=top.flops,
        ranks=ranks,
        evidence=evidence_of(job, layout),
        budget=_budget(job, devices, total_s),
    )


def _budget(job: Job, devices: int, total_s: float) -> Mapping[str, float] | None:
    """Days, device-hours, money and energy of the token budget; what is unknown is left out."""
    if job.training.tokens is None:
        return None
    seconds = job.training.tokens / job.training.tokens_per_step * total_s
    hours = seconds / 3600.0 * devices
    result = {"days": seconds / 86400.0, "device_hours": hours}
    cluster = job.cluster
    if cluster.price_per_device_hour is not None:
        result["cost"] = hours * cluster.price_per_device_hour
    power = cluster.power_per_device_w or cluster.accelerator.power_w
    if power is not None:
        result["energy_kwh"] = hours * power / 1000.0
    return result
