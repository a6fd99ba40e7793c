"""Which constants the measurements of a device determine, with weak priors: own figures count more than published ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.calibration.fit.constants import Constant, Key, Rule, chip_of
from planner.calibration.measure.grid import BLOCK_FRAMEWORKS
from planner.calibration.measure.shapes import profile_of
from planner.hardware.calibration import MATMUL, kernel_value, plateau_name
from planner.hardware.types import Accelerator
from planner.jobs.framework import HOST_FACTOR, Framework, load_framework
from planner.validation.trainer.settings import PYTORCH_PROFILES

ELEMENTWISE_FACTOR = "elementwise_factor"

RULES: tuple[Rule, ...] = (
    Rule("accelerator", "matmul_k_half", "factor", 0.5, 0.5, 4000.0),
    Rule("accelerator", "matmul_mn_half", "factor", 0.5, 0.5, 4000.0),
    Rule("accelerator", "eager.*", "factor", 0.6, 0.005, 4.0),
    Rule("accelerator", "attention_backward.*", "efficiency", 0.3, 0.002, 0.995),
    Rule("accelerator", "*", "efficiency", 0.3, 0.002, 0.995),
    Rule("architecture", "*_s", "factor", 1.0, 1e-7, 1e-3),
    Rule("framework", ELEMENTWISE_FACTOR, "factor", 1.0, 0.05, 50.0),
    Rule("framework", HOST_FACTOR, "factor", 0.7, 0.02, 50.0),
)
"""First match. Wider than those of published data, where a constant must hold on machines that nobody measured; bounds allow
for cores that many processes share."""

EAGER = ("norm", "activation", "add")
BLOCK_FRAMEWORK = BLOCK_FRAMEWORKS[0]
"""Profile whose blocks tell the host's time: eager PyTorch modules without a compiler."""


def device_constants(
    points: Sequence[Mapping[str, Any]], accelerator: Accelerator, framework: Framework
) -> list[Constant]:
    """The constants with their priors.

    Args:
        framework: the profile of the blocks, as published.
    """
    found = dict(_keys(points, accelerator, framework))
    return [_constant(key, prior) for key, prior in found.items()]


def _keys(
    points: Sequence[Mapping[str, Any]], accelerator: Accelerator, framework: Framework
) -> Iterator[tuple[Key, float]]:
    chip, kernels = chip_of(accelerator.name), accelerator.kernels
    kinds = {str(point["kind"]) for point in points}
    alone = not accelerator.synchronous and kinds != {"block"}

    def named(name: str, prior: float | None) -> Iterator[tuple[Key, float]]:
        if prior is not None:
            yield Key("accelerator", chip, name), prior

    for precision in dict.fromkeys(str(point["precision"]) for point in points):
        name = plateau_name(precision)
        yield from named(name, kernel_value(accelerator, name))
    half = kernel_value(accelerator, plateau_name("bf16"))
    if alone and "matmul" in kinds and half is not None:
        yield from named(f"alone.{MATMUL}", kernels.alone.get(MATMUL, half))
    if accelerator.compute_units is None:
        yield from named("matmul_k_half", kernels.matmul_k_half)
        yield from named("matmul_mn_half", kernels.matmul_mn_half)
    generation = framework.attention_generation("flash", accelerator.architecture)
    yield from named(f"attention.{generation}", kernels.attention_forward[generation])
    if "attention" in kinds:
        yield from named(f"attention_backward.{generation}", kernels.attention_backward[generation])
        if alone:
            prior = kernels.alone.get(generation, kernels.attention_forward[generation])
            yield from named(f"alone.{generation}", prior)
    yield from named("memory_efficiency", kernels.memory_efficiency)
    for operator in EAGER:
        if operator in kinds:
            yield from named(f"eager.{operator}", kernels.eager[operator])
    yield Key("architecture", accelerator.architecture, "launch_s"), kernels.launch_s
    yield Key("architecture", accelerator.architecture, "floor_s"), kernels.floor_s
    for name in dict.fromkeys(profile_of(point) for point in points if point["kind"] == "block"):
        yield Key("framework", name, HOST_FACTOR), 1.0
        yield Key("framework", name, ELEMENTWISE_FACTOR), load_framework(name).elementwise_factor


def _constant(key: Key, prior: float) -> Constant:
    rule = next(r for r in RULES if r.kind == key.kind and fnmatch.fnmatchcase(key.name, r.pattern))
    margin = 1.01
    return Constant(key, min(max(prior, rule.lower * margin), rule.upper / margin), rule)


def of_profiles(
    values: Mapping[Key, float], profiles: Mapping[str, Framework]
) -> Iterator[tuple[Key, Key, float]]:
    """Constants of every profile on this host: the key, that of the block which measured it, the value.

    A profile is like the one whose layers the trainer builds alike: its operators take the same seconds of the host, whatever
    the published ones are, and its element-wise operators the same part of their bytes' time.

    Args:
        profiles: every profile by name, as its file states it.
    """
    for name, profile in profiles.items():
        block = BLOCK_FRAMEWORKS[name not in PYTORCH_PROFILES]
        host, elementwise = (Key("framework", block, figure) for figure in (HOST_FACTOR, ELEMENTWISE_FACTOR))
        stated = profile.host.forward_operator_s
        if host in values and stated > 0.0:
            measured = values[host] * profiles[block].host.forward_operator_s
            yield Key("framework", name, HOST_FACTOR), host, measured / stated
        if elementwise in values:
            yield Key("framework", name, ELEMENTWISE_FACTOR), elementwise, values[elementwise]
