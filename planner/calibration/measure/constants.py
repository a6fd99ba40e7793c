"""Which constants the measurements of a device determine, with weak priors: own figures count more than published ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.calibration.fit.constants import Constant, Key, Rule, chip_of
from planner.hardware.calibration import HALF, MATMUL, kernel_value
from planner.hardware.types import Accelerator
from planner.jobs.framework import FRAMEWORKS, HOST_FACTOR, Framework, load_framework

RULES: tuple[Rule, ...] = (
    Rule("accelerator", "matmul_k_half", "factor", 0.7, 0.5, 4000.0),
    Rule("accelerator", "matmul_mn_half", "factor", 0.7, 0.5, 4000.0),
    Rule("accelerator", "eager.*", "factor", 0.6, 0.005, 4.0),
    Rule("accelerator", "attention_backward.*", "efficiency", 0.3, 0.002, 0.995),
    Rule("accelerator", "*", "efficiency", 0.3, 0.002, 0.995),
    Rule("architecture", "*_s", "factor", 1.0, 1e-7, 1e-3),
    Rule("framework", HOST_FACTOR, "factor", 0.7, 0.02, 50.0),
)
"""First match. Wider than those of published data, where a constant must hold on machines that nobody measured; bounds allow
for cores that many processes share."""

EAGER = ("norm", "activation", "add")
BLOCK_FRAMEWORK = "fsdp"
"""Profile that the blocks are priced with: eager PyTorch modules without a compiler."""


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
        name = f"matmul_efficiency.{HALF if precision in ('bf16', 'fp16') else precision}"
        yield from named(name, kernel_value(accelerator, name))
    half = kernel_value(accelerator, f"matmul_efficiency.{HALF}")
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
    if "block" in kinds:
        yield Key("framework", framework.name, HOST_FACTOR), 1.0


def _constant(key: Key, prior: float) -> Constant:
    rule = next(r for r in RULES if r.kind == key.kind and fnmatch.fnmatchcase(key.name, r.pattern))
    margin = 1.01
    return Constant(key, min(max(prior, rule.lower * margin), rule.upper / margin), rule)


def host_factors(factor: float) -> Iterator[tuple[str, float]]:
    """The host factor of every profile on this host: the same seconds per operator, whatever its published ones are."""
    measured = factor * load_framework(BLOCK_FRAMEWORK).host.forward_operator_s
    for name in FRAMEWORKS:
        stated = load_framework(name).host.forward_operator_s
        if stated > 0.0:
            yield name, measured / stated
