"""Intervals of predictions, and which differences between layouts they can tell. Docs: docs/calibration.md.

The log error of a step is taken as the sum of independent errors of its parts, each weighted by its share of the step, and
of errors of the whole. Two layouts of one job share the constants behind their parts, so that an error of a part moves their
ratio only as far as their shares differ: ratios are known better than times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import FloatArray
from planner.hardware.calibration import is_fitted
from planner.hardware.spreads import Spreads
from planner.hardware.types import Evidence
from planner.jobs.prediction import TimeBreakdown
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray

NORMAL_80 = 1.2816
"""Standard deviations on either side of an 80 % interval."""

PARTS = ("compute", "communication", "host", "optimizer", "bubble")

WHOLE = ("framework_prior", "experts", "source", "unseen")
"""Spreads of the whole step, which layouts of one job share."""

LARGEST_CP = 8
"""Context parallelism up to which published runs support the attention and ring terms."""


@dataclass(frozen=True)
class Support:
    """Which of the constants behind a job were fitted to runs; whether it has experts, and runs on a site that was in the fit."""

    kernels: bool
    links: bool
    framework: bool
    experts: bool = False
    source: bool = False


def kernel_origin(job: Job) -> Evidence | None:
    """Where the matmul rate of the job's precision comes from."""
    return job.cluster.accelerator.evidence.get(f"kernels.matmul_efficiency.{job.training.precision}")


def link_origins(job: Job) -> dict[str, Evidence | None]:
    """Kind of each network level -> where its in-step rate comes from."""
    cluster = job.cluster
    return {
        level.kind or level.name: cluster.evidence.get(f"network[{level.name}].in_step_efficiency")
        for level in cluster.network
    }


def support_of(job: Job) -> Support:
    """What of the job was calibrated; a single device needs no links."""
    kernels = kernel_origin(job)
    links = [origin is not None and is_fitted(origin) for origin in link_origins(job).values()]
    return Support(
        kernels=kernels is not None and is_fitted(kernels),
        links=all(links) or job.devices == 1,
        framework=job.framework.calibrated is not None,
        experts=bool(job.model.experts),
    )


def loads(
    support: Support, shares: Mapping[str, FloatArray], unseen: FloatArray | float = 0.0
) -> dict[str, FloatArray]:
    """Square of what each spread (a field of ``Spreads``) counts in the log error of the step, shape (rows,).

    Args:
        shares: of each part in the step. unseen: features of each row that no run supports.
    """
    fitted = {
        "compute": support.kernels,
        # what of the traffic is exposed is the links' rate and the profile's hidden shares
        "communication": support.links and support.framework,
        "host": support.framework,
    }
    squares = {part: np.asarray(share) ** 2 for part, share in shares.items()}
    priors = {f"{part}_prior": squares[part] for part, known in fitted.items() if not known}
    whole = {
        "framework_prior": not support.framework,
        "experts": support.experts,
        "source": not support.source,
    }
    return (
        squares
        | priors
        | {name: np.asarray(float(counts)) for name, counts in whole.items()}
        | {"unseen": np.asarray(unseen)}
    )


def log_spread(spreads: Spreads, counted: Mapping[str, FloatArray]) -> FloatArray:
    """Standard deviation of the log of the step, from what ``loads`` gives."""
    squares = [load * getattr(spreads, name) ** 2 for name, load in counted.items()]
    return np.asarray(np.sqrt(sum(squares, np.zeros(()))))


def ratio_spread(
    support: Support, spreads: Spreads, first: Mapping[str, float], second: Mapping[str, float]
) -> float:
    """Standard deviation of the log ratio of two layouts' steps of one job.

    Args:
        first, second: shares of the parts in each step.
    """
    apart = loads(support, {part: np.array(first[part] - second[part]) for part in PARTS})
    shared = {name: load for name, load in apart.items() if name not in WHOLE}
    return math.hypot(float(log_spread(spreads, shared)), math.sqrt(2.0) * spreads.layout)


def interval_factor(job: Job, shares: Mapping[str, FloatArray], cp: IntArray | int) -> FloatArray:
    """Upper end of the 80 % interval over the prediction, shape (rows,); the lower end is as far on the other side.

    Args:
        shares: of each part in the step. cp: degree of context parallelism.
    """
    unseen = np.asarray(np.asarray(cp) > LARGEST_CP, dtype=np.float64)
    counted = loads(support_of(job), shares, unseen)
    return np.asarray(np.exp(NORMAL_80 * log_spread(job.cluster.spreads, counted)))


def time_shares(time: TimeBreakdown) -> dict[str, float]:
    """Shares of the parts in a step."""
    parts = {
        "compute": time.compute_s,
        "communication": sum(time.exposed.values()),
        "host": time.host_s,
        "optimizer": time.optimizer_s,
        "bubble": time.bubble_s,
    }
    total = sum(parts.values())
    return {name: seconds / total for name, seconds in parts.items()}


def interval_of(job: Job, time: TimeBreakdown, total_s: float, cp: int) -> tuple[float, float]:
    """80 % interval of one step."""
    shares = {name: np.array([share]) for name, share in time_shares(time).items()}
    factor = float(interval_factor(job, shares, cp)[0])
    return total_s / factor, total_s * factor
