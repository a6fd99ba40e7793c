"""What a prediction rests on, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from planner.costs.collectives import LOW_CONFIDENCE
from planner.costs.uncertainty import LARGEST_CP, kernel_origin, link_origins
from planner.hardware.calibration import is_fitted
from planner.jobs.types import Job
from planner.layouts.layout import Layout


def _constants_behind(job: Job) -> Iterator[str]:
    """Which constants were fitted, to what, and which are priors."""
    fitted = {f"kernels of {job.cluster.accelerator.name} in {job.training.precision}": kernel_origin(job)}
    fitted |= {f"links of {kind}": origin for kind, origin in link_origins(job).items()}
    known = {what: origin.source for what, origin in fitted.items() if origin and is_fitted(origin)}
    if job.framework.calibrated is not None:
        known[f"profile {job.framework.name}"] = job.framework.calibrated
    for what, source in known.items():
        yield f"{what}: {source}"
    priors = [what for what in (*fitted, f"profile {job.framework.name}") if what not in known]
    if priors:
        yield f"uncalibrated: {'; '.join(priors)} rest on priors, which widens the interval"


def _by_identity_between_nodes(job: Job, layout: Layout) -> bool:
    """Whether collectives run between nodes that are priced by identities alone: of sharded states, of experts, of
    sequence parallelism."""
    node = job.cluster.devices_per_node
    if job.devices <= node:
        return False
    return bool(layout.zero_stage) or layout.ep * layout.etp > node or layout.tp * layout.cp > node


def evidence_of(job: Job, layout: Layout) -> tuple[str, ...]:
    """Sentences on what the figures rest on."""
    accelerator = job.cluster.accelerator
    lines = list(_constants_behind(job))
    grades = sorted({item.grade for item in accelerator.evidence.values()})
    if "C" in grades:
        lines.append(
            f"sources disagree on some figures of {accelerator.name} (see `plan hardware show {accelerator.name}`)"
        )
    if layout.cp > LARGEST_CP:
        lines.append(
            f"no published run with context parallelism beyond {LARGEST_CP} supports the attention and ring terms here"
        )
    if _by_identity_between_nodes(job, layout):
        lines.append(LOW_CONFIDENCE)
    if job.model.experts and job.training.moe.router_imbalance == 1.0:
        lines.append(
            "the router is taken as balanced; an imbalance of x lengthens expert time and dispatch by x"
        )
    return tuple(lines)
