"""Measured seconds of a row: printed, from a rate, or from FLOP/s under the convention that the source states."""

from __future__ import annotations

import statistics
from typing import Literal

from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.jobs.types import Job
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RunRow

Convention = Literal["causal_half", "full_square", "megatron_hardware"]

_CONVENTIONS: tuple[tuple[tuple[str, ...], Convention], ...] = (
    (("96*b", "sc21 formula", "hardware flops with full recompute"), "megatron_hardware"),
    (("noncausal", "non-causal", "no causal halving", "mlm_readme"), "full_square"),
    (("causal",), "causal_half"),
)
"""Words of a row's ``flops_convention`` -> how it counts, first match."""


def convention_of(text: str | None) -> Convention | None:
    """The convention that a source states, None when it states none."""
    words = (text or "").lower()
    return next((name for keys, name in _CONVENTIONS if any(key in words for key in keys)), None)


def measured_seconds(row: RunRow, job: Job) -> float | None:
    """Seconds of one optimizer step, None when the row measured no time.

    Args:
        job: for tokens per step and model FLOPs.

    Raises:
        Refused: the row has only FLOP/s or a utilisation, and does not say how it counts FLOPs.
    """
    found, tokens = row.measured, job.training.tokens_per_step
    if found.step_time_s:
        return found.step_time_s
    if found.step_time_s_printed:
        return statistics.median(found.step_time_s_printed)
    if found.tokens_per_s_per_device:
        return tokens / found.tokens_per_s_per_device / job.devices
    if found.tokens_per_s:
        return tokens / found.tokens_per_s
    if found.samples_per_s:
        return job.training.global_batch / found.samples_per_s
    return _from_flops(row, job)


def _from_flops(row: RunRow, job: Job) -> float | None:
    found = row.measured
    rate, share = found.model_tflops_per_device, found.mfu
    hardware = found.hardware_tflops_per_device
    if not (rate or share or hardware or found.hfu):
        return None
    convention = convention_of(row.flops_convention)
    if convention is None:
        raise Refused("measured: FLOP/s without a stated convention")
    if convention == "megatron_hardware":
        rate, share = hardware, found.hfu
        flops = megatron_hardware_flops(job)
    else:
        flops = model_flops(job, convention)
    if rate:
        return flops / (rate * 1e12) / job.devices
    if share:
        return flops / (share * peak_flops(job.cluster.accelerator, job.training.precision)) / job.devices
    raise Refused("measured: FLOP/s without a stated convention")


def megatron_hardware_flops(job: Job) -> float:
    """FLOPs of one step with full recompute: 96 B s l h^2 (1 + s / 6h + V / 16 l h) (arXiv 2104.04473, equation 3)."""
    model, training = job.model, job.training
    s, h, layers = training.seq_len, model.hidden, model.layers
    return (
        96.0 * training.global_batch * s * layers * h**2 * (1 + s / (6 * h) + model.vocab / (16 * layers * h))
    )
