"""Which constants a job depends on, and a job with other values of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from planner.calibration.fit.constants import IN_STEP_PRIOR, Key, chip_of, links_of
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import (
    calibrated_accelerator,
    kernel_value,
    plateau_name,
    with_attention,
    with_kernels,
    with_link,
)
from planner.hardware.calibration_files import catalogue_parts, joined
from planner.hardware.types import Accelerator
from planner.jobs.framework import EXPERT_FACTOR, HOST_FACTOR, at_stated, load_framework, with_constants
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts

Values = Mapping[Key, float]
Once = Callable[[Hashable, Callable[[], Any]], Any]


def constants_of(job: Job, layouts: Layouts) -> Iterator[tuple[Key, float]]:
    """Keys and priors of the constants that these layouts of a job depend on."""
    accelerator = job.cluster.accelerator
    chip = chip_of(accelerator.name)
    for name in _kernel_names(job):
        prior = kernel_value(accelerator, name)
        if prior is not None:
            yield Key("accelerator", chip, name), prior
    for level in job.cluster.network:
        if level.kind is not None and job.devices > 1:
            yield Key("network", links_of(level.kind), "in_step_efficiency"), IN_STEP_PRIOR
    for name, prior in _framework_constants(job, layouts):
        yield Key("framework", job.framework.name, name), prior


def _kernel_names(job: Job) -> Iterator[str]:
    precision, attention = job.training.precision, job.training.attention
    yield plateau_name(precision)
    if precision in ("fp8", "mxfp8", "nvfp4", "int8"):
        yield plateau_name("bf16")  # of the head
        yield "cast_factor"
    if job.cluster.accelerator.compute_units is None:
        yield from ("matmul_k_half", "matmul_mn_half")
    yield "memory_efficiency"
    kernel = job.framework.attention_generation(attention, job.cluster.accelerator.architecture)
    if any(o.kind == "attention" for b in job.model.blocks.values() for o in b.operators):
        yield f"attention.{kernel}"


def _framework_constants(job: Job, layouts: Layouts) -> Iterator[tuple[str, float]]:
    hidden, stated, columns = job.framework.hidden, job.training.overlap, layouts.columns
    replicas = np.maximum(columns["dp"], columns["ring"] * columns["ulysses"])
    for name, kinds, present in (
        ("tp", ("tp",), columns["tp"]),
        ("dp", ("dp_reduce", "dp_gather"), replicas),
        ("pp", ("pp",), columns["pp"]),
        ("ep", ("ep",), columns["ep"]),
    ):
        free = [getattr(hidden, kind) for kind in kinds if kind not in stated and getattr(hidden, kind) > 0]
        if free and (present > 1).any():
            yield f"hidden.{name}", sum(free) / len(free)
    yield "elementwise_factor", job.framework.elementwise_factor
    if job.training.capture is not True and job.framework.host.forward_operator_s > 0:
        yield HOST_FACTOR, 1.0
        if job.model.experts:
            yield EXPERT_FACTOR, 1.0


def at_priors(job: Job, once: Once) -> Job:
    """The job as if nothing had ever been calibrated on runs; what kernels and collectives taught stays.

    Args:
        once: builds what many jobs share a single time.
    """
    cluster = job.cluster
    name = cluster.accelerator.name
    accelerator = once(("prior accelerator", name), lambda: _apart_from_runs(name))
    levels = tuple(replace(level, in_step_efficiency=1.0) for level in cluster.network)
    profile = job.framework.name
    framework = at_stated(job.framework, once(("prior framework", profile), lambda: load_framework(profile)))
    uncalibrated = replace(cluster, accelerator=accelerator, network=levels, calibration=None)
    return replace(job, cluster=uncalibrated, framework=framework)


def _apart_from_runs(name: str) -> Accelerator:
    parts = catalogue_parts(besides="runs")
    plain = load_accelerator(name)
    return calibrated_accelerator(plain, joined(parts)) if parts else plain


def with_values(job: Job, values: Values) -> Job:
    """The job with the constants of its scopes replaced; other scopes' values do not touch it."""
    cluster = job.cluster
    levels = tuple(
        level if level.kind is None else with_link(level, _named(values, "network", links_of(level.kind)))
        for level in cluster.network
    )
    accelerator = accelerator_with(cluster.accelerator, values)
    framework = with_constants(job.framework, _named(values, "framework", job.framework.name))
    return replace(
        job, cluster=replace(cluster, accelerator=accelerator, network=levels), framework=framework
    )


def accelerator_with(accelerator: Accelerator, values: Values) -> Accelerator:
    """The accelerator with the constants of its architecture, its chip and of attention kernels replaced."""
    changed = with_kernels(accelerator, _named(values, "architecture", accelerator.architecture))
    changed = with_kernels(changed, _named(values, "accelerator", chip_of(accelerator.name)))
    for generation in {key.scope for key in values if key.kind == "attention"}:
        changed = with_attention(changed, generation, _named(values, "attention", generation))
    return changed


def _named(values: Values, kind: str, scope: str) -> dict[str, float]:
    return {key.name: value for key, value in values.items() if key.kind == kind and key.scope == scope}
