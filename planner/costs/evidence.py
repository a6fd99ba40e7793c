"""What a prediction rests on, and how far it may be off."""

from __future__ import annotations

import math
from collections.abc import Iterator

from planner.hardware.calibration import is_fitted
from planner.jobs.prediction import TimeBreakdown
from planner.jobs.types import Job
from planner.layouts.layout import Layout

NORMAL_80 = 1.2816
"""Standard deviations on either side of an 80 % interval."""

SPREADS = {"compute": 0.17, "communication": 0.30, "host": 0.60, "optimizer": 0.40, "bubble": 0.15}
"""Log standard deviations of the priors by class of time: kernel plateau .12 with attention .25 mixed in, link
fractions .2-.3, host work .6 (prior widths of docs/accuracy.md)."""


def interval_of(job: Job, time: TimeBreakdown, total_s: float) -> tuple[float, float]:
    """80 % interval of the step from the prior widths of its parts, taken as independent."""
    parts = {
        "compute": time.compute_s,
        "communication": sum(time.exposed.values()),
        "host": time.host_s,
        "optimizer": time.optimizer_s,
        "bubble": time.bubble_s,
    }
    spread = math.sqrt(sum((SPREADS[name] * seconds / total_s) ** 2 for name, seconds in parts.items()))
    factor = math.exp(NORMAL_80 * spread)
    return total_s / factor, total_s * factor


def _constants_behind(job: Job) -> Iterator[str]:
    """Which constants were fitted, to what, and which are priors."""
    accelerator, cluster = job.cluster.accelerator, job.cluster
    kernels = accelerator.evidence.get(f"kernels.matmul_efficiency.{job.training.precision}")
    fitted = {f"kernels of {accelerator.name} in {job.training.precision}": kernels}
    for level in cluster.network:
        fitted[f"links of {level.kind or level.name}"] = cluster.evidence.get(
            f"network[{level.name}].in_step_efficiency"
        )
    known = {what: origin.source for what, origin in fitted.items() if origin and is_fitted(origin)}
    if job.framework.calibrated is not None:
        known[f"profile {job.framework.name}"] = job.framework.calibrated
    for what, source in known.items():
        yield f"{what}: {source}"
    priors = [what for what in (*fitted, f"profile {job.framework.name}") if what not in known]
    if priors:
        yield f"uncalibrated: {'; '.join(priors)} rest on priors"


def evidence_of(job: Job, layout: Layout) -> tuple[str, ...]:
    """Sentences on what the figures rest on."""
    accelerator = job.cluster.accelerator
    lines = list(_constants_behind(job))
    grades = sorted({item.grade for item in accelerator.evidence.values()})
    if "C" in grades:
        lines.append(
            f"sources disagree on some figures of {accelerator.name} (see `plan hardware show {accelerator.name}`)"
        )
    if layout.cp > 8:
        lines.append(
            "no published run with context parallelism beyond 8 supports the attention and ring terms here"
        )
    if job.model.experts and job.training.moe.router_imbalance == 1.0:
        lines.append(
            "the router is taken as balanced; an imbalance of x lengthens expert time and dispatch by x"
        )
    return tuple(lines)
