"""How fitted constants replace the priors of accelerators and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.hardware.calibration_files import (
    FITTED,
    CalibratedScope,
    Calibration,
    FittedConstant,
    ScopeKind,
    applied_calibration,
    default_calibration,
    load_calibration,
)
from planner.hardware.types import Accelerator, Cluster, Evidence, KernelConstants, NetworkLevel

__all__ = [
    "CalibratedScope",
    "Calibration",
    "FittedConstant",
    "ScopeKind",
    "applied_calibration",
    "default_calibration",
    "load_calibration",
]

HALF = "16bit"
"""Family of bf16 and fp16, which run on the same units at the same rate."""

MATMUL = "matmul"
"""Name of the plateau in the table ``alone``."""

EIGHT = "8bit"
"""Family of fp8 and mxfp8: the same operands through the same units at the same rate, whatever the grain of their scales
(``tcgen05.mma`` has one shape for ``kind::f8f6f4`` and ``kind::mxf8f6f4``, PTX ISA)."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {HALF: ("bf16", "fp16"), EIGHT: ("fp8", "mxfp8")}
_TABLES = ("matmul_efficiency", "attention_forward", "attention_backward", "eager", "alone")
_ATTENTION = "attention"


def is_fitted(origin: Evidence) -> bool:
    """Whether a figure was fitted, not stated or a prior."""
    return origin.source.startswith(FITTED)


def calibrated_accelerator(accelerator: Accelerator, calibration: Calibration) -> Accelerator:
    """The accelerator with the constants of its architecture, of its chip and of attention kernels, which then carry the
    fit as their evidence."""
    found: dict[str, Evidence] = {}
    changed = accelerator
    scopes: tuple[tuple[ScopeKind, str], ...] = (
        ("architecture", accelerator.architecture),
        ("accelerator", accelerator.name),
    )
    for kind, member in scopes:
        changed = with_kernels(changed, calibration.values(kind, member))
        for name, source in calibration.sources(kind, member).items():
            found |= {f"kernels.{figure}": Evidence(source, "A") for figure in _spelled(accelerator, name)}
    for generation in accelerator.kernels.attention_kernels:
        changed = with_attention(changed, generation, calibration.values("attention", generation))
        for name, source in calibration.sources("attention", generation).items():
            found[f"kernels.attention_kernels.{generation}.{name}"] = Evidence(source, "A")
    return replace(changed, evidence={**accelerator.evidence, **found}) if found else accelerator


def calibrated_level(
    level: NetworkLevel, calibration: Calibration
) -> tuple[NetworkLevel, dict[str, Evidence]]:
    """The level with the constants of its kind, and their evidence."""
    if level.kind is None:
        return level, {}
    sources = calibration.sources("network", level.kind)
    found = {f"network[{level.name}].{name}": Evidence(source, "A") for name, source in sources.items()}
    return with_link(level, calibration.values("network", level.kind)), found


def with_kernels(accelerator: Accelerator, values: Mapping[str, float]) -> Accelerator:
    """The accelerator with some kernel constants replaced.

    Args:
        values: by name: a field of ``KernelConstants`` or ``table.key`` (``matmul_efficiency.16bit`` for bf16 and fp16,
            ``8bit`` for fp8 and mxfp8);
            ``attention.<generation>`` is its forward rate, which its backward rate follows in proportion.
    """
    if not values:
        return accelerator
    kernels = accelerator.kernels
    tables = {name: dict(getattr(kernels, name)) for name in _TABLES}
    scalars: dict[str, float] = {}
    for name, value in values.items():
        table, _, key = name.partition(".")
        if not key:
            scalars[name] = value
        elif table == _ATTENTION:
            tables["attention_backward"][key] *= value / tables["attention_forward"][key]
            tables["attention_forward"][key] = value
        else:
            for member in _FAMILIES.get(key, (key,)):
                if table != "matmul_efficiency" or member in accelerator.peak_flops:
                    tables[table][member] = value
    changed: KernelConstants = replace(kernels, **scalars, **tables)  # type: ignore[arg-type]
    return replace(accelerator, kernels=changed)


def with_attention(accelerator: Accelerator, generation: str, values: Mapping[str, float]) -> Accelerator:
    """The accelerator with some constants of one generation of attention kernels (fields of ``AttentionKernel``) replaced."""
    if not values:
        return accelerator
    kernels = accelerator.kernels
    changed = replace(kernels.attention_kernels[generation], **values)
    shapes = {**kernels.attention_kernels, generation: changed}
    return replace(accelerator, kernels=replace(kernels, attention_kernels=shapes))


def kernels_alone(accelerator: Accelerator) -> Accelerator:
    """The accelerator running one kernel after the other, as benchmarks of kernels do.

    A training step mixes kernels, shares the memory with transfers and runs into the power limit, so its rates are fitted to
    runs and lie below. Precisions that were not measured alone keep the ratio of those that were.
    """
    kernels = accelerator.kernels
    rates = {f"{_ATTENTION}.{name}": rate for name, rate in kernels.alone.items() if name != MATMUL}
    half = next(
        (kernels.matmul_efficiency[p] for p in _FAMILIES[HALF] if p in kernels.matmul_efficiency), None
    )
    if half is not None and MATMUL in kernels.alone:
        ratio = kernels.alone[MATMUL] / half
        rates |= {
            f"matmul_efficiency.{precision}": min(rate * ratio, 1.0)
            for precision, rate in kernels.matmul_efficiency.items()
        }
    return with_kernels(accelerator, rates)


def with_link(level: NetworkLevel, values: Mapping[str, float]) -> NetworkLevel:
    """The network level with some constants replaced: fields of ``NetworkLevel``, or ``field.collective`` of one of them."""
    if not values:
        return level
    own = {name: value for name, value in values.items() if "." in name}
    fields = {name: value for name, value in values.items() if name not in own}
    whole = tuple(sorted((dict(level.own) | own).items()))
    return replace(level, **fields, own=whole)  # type: ignore[arg-type]


def alone(cluster: Cluster) -> Cluster:
    """The cluster for one collective that nothing else disturbs, as nccl-tests measures it."""
    return replace(
        cluster, network=tuple(with_link(level, {"in_step_efficiency": 1.0}) for level in cluster.network)
    )


def plateau_name(precision: str) -> str:
    """The constant that holds the plateau of matmuls in a precision."""
    family = next((name for name, members in _FAMILIES.items() if precision in members), precision)
    return f"matmul_efficiency.{family}"


def kernel_value(accelerator: Accelerator, name: str) -> float | None:
    """The kernel constant of that name as ``with_kernels`` takes it, None when the accelerator has none."""
    table, _, key = name.partition(".")
    if not key:
        return float(getattr(accelerator.kernels, name))
    table = "attention_forward" if table == _ATTENTION else table
    known: Mapping[str, float] = getattr(accelerator.kernels, table)
    return next((known[member] for member in _FAMILIES.get(key, (key,)) if member in known), None)


def _spelled(accelerator: Accelerator, name: str) -> list[str]:
    """Names of the figures that a constant sets."""
    table, _, key = name.partition(".")
    if table == _ATTENTION:
        return [f"attention_forward.{key}", f"attention_backward.{key}"]
    members = [m for m in _FAMILIES.get(key, (key,)) if m in accelerator.peak_flops or key not in _FAMILIES]
    return [f"{table}.{member}" for member in members] if key else [name]
