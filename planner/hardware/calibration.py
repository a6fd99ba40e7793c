"""Calibration files: fitted constants by chip, network kind and framework profile, and how they replace priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import validate
from planner.documents.bulk import load_bulk
from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.types import Accelerator, Cluster, Evidence, KernelConstants, NetworkLevel

FITTED = "calibrated on"
"""How the source of a fitted figure begins."""

ScopeKind = Literal["accelerator", "network", "framework"]

HALF = "16bit"
"""Family of bf16 and fp16, which run on the same units at the same rate."""

_FAMILIES: Mapping[str, tuple[str, ...]] = {HALF: ("bf16", "fp16")}
_TABLES = ("matmul_efficiency", "attention_forward", "attention_backward")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedConstant(_Strict):
    """One constant.

    Args:
        value: fitted; prior: where the fit started and is pulled to, with its spread (of the logarithm; of the log-odds
            for shares); lower, upper: physical bounds.
        rows: measurements that depend on it; groups: sources of them.
    """

    value: float = Field(gt=0)
    prior: float = Field(gt=0)
    spread: float = Field(gt=0)
    lower: float = Field(gt=0)
    upper: float = Field(gt=0)
    rows: int = Field(ge=1)
    groups: int = Field(ge=1)


class CalibratedScope(_Strict):
    """Constants that the members share: one chip, one kind of network, one framework profile."""

    members: tuple[str, ...] = Field(min_length=1)
    families: tuple[str, ...] = Field(min_length=1, description="sources of the rows")
    constants: dict[str, FittedConstant] = Field(min_length=1)

    @property
    def values(self) -> dict[str, float]:
        return {name: constant.value for name, constant in self.constants.items()}

    @property
    def source(self) -> str:
        rows = max(constant.rows for constant in self.constants.values())
        return f"{FITTED} {rows} published runs ({', '.join(self.families)})"


class Calibration(_Strict):
    """A calibration file."""

    name: str
    date: str
    data_sha256: str
    rows: int
    accelerators: dict[str, CalibratedScope] = Field(default_factory=dict)
    networks: dict[str, CalibratedScope] = Field(default_factory=dict)
    frameworks: dict[str, CalibratedScope] = Field(default_factory=dict)

    def scope(self, kind: ScopeKind, member: str) -> CalibratedScope | None:
        """The scope that a chip, network kind or profile belongs to, None when nothing was fitted for it."""
        scopes: Mapping[str, CalibratedScope] = getattr(self, f"{kind}s")
        return next((scope for scope in scopes.values() if member in scope.members), None)


def is_fitted(origin: Evidence) -> bool:
    """Whether a figure was fitted, not stated or a prior."""
    return origin.source.startswith(FITTED)


def load_calibration(path: Path) -> Calibration:
    """A calibration file.

    Raises:
        PlannerError: it is missing or no calibration.
    """
    return validate(load_bulk(path), Calibration)


def default_calibration() -> Path | None:
    """The file of the catalogue's calibration, None when the catalogue has none.

    Raises:
        PlannerError: it holds several.
    """
    found = sorted((catalogue.specs_root() / "calibrations").glob("*.yaml"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise PlannerError(f"the catalogue holds several calibrations ({names}); one is accepted")
    return found[0] if found else None


def calibrated_accelerator(accelerator: Accelerator, calibration: Calibration) -> Accelerator:
    """The accelerator with the constants of its chip, which then carry the fit as their evidence."""
    scope = calibration.scope("accelerator", accelerator.name)
    if scope is None:
        return accelerator
    names = [name for stated in scope.constants for name in _spelled(accelerator, stated)]
    found = {f"kernels.{name}": Evidence(scope.source, "A") for name in names}
    changed = with_kernels(accelerator, scope.values)
    return replace(changed, evidence={**accelerator.evidence, **found})


def calibrated_level(
    level: NetworkLevel, calibration: Calibration
) -> tuple[NetworkLevel, dict[str, Evidence]]:
    """The level with the constants of its kind, and their evidence."""
    scope = None if level.kind is None else calibration.scope("network", level.kind)
    if scope is None:
        return level, {}
    found = {f"network[{level.name}].{name}": Evidence(scope.source, "A") for name in scope.constants}
    return with_link(level, scope.values), found


def with_kernels(accelerator: Accelerator, values: Mapping[str, float]) -> Accelerator:
    """The accelerator with some kernel constants replaced.

    Args:
        values: by name: a field of ``KernelConstants`` or ``table.key`` (``matmul_efficiency.16bit`` for bf16 and fp16).
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
            continue
        for member in _FAMILIES.get(key, (key,)):
            if table != "matmul_efficiency" or member in accelerator.peak_flops:
                tables[table][member] = value
    changed: KernelConstants = replace(kernels, **scalars, **tables)  # type: ignore[arg-type]
    return replace(accelerator, kernels=changed)


def with_link(level: NetworkLevel, values: Mapping[str, float]) -> NetworkLevel:
    """The network level with some constants (fields of ``NetworkLevel``) replaced."""
    return replace(level, **values) if values else level  # type: ignore[arg-type]


def alone(cluster: Cluster) -> Cluster:
    """The cluster for one collective that nothing else disturbs, as nccl-tests measures it."""
    return replace(
        cluster, network=tuple(with_link(level, {"in_step_efficiency": 1.0}) for level in cluster.network)
    )


def kernel_value(accelerator: Accelerator, name: str) -> float | None:
    """The kernel constant of that name as ``with_kernels`` takes it, None when the accelerator has none."""
    table, _, key = name.partition(".")
    if not key:
        return float(getattr(accelerator.kernels, name))
    known: Mapping[str, float] = getattr(accelerator.kernels, table)
    return next((known[member] for member in _FAMILIES.get(key, (key,)) if member in known), None)


def _spelled(accelerator: Accelerator, name: str) -> list[str]:
    """Names of the figures that a constant sets."""
    table, _, key = name.partition(".")
    members = [m for m in _FAMILIES.get(key, (key,)) if m in accelerator.peak_flops or key not in _FAMILIES]
    return [f"{table}.{member}" for member in members] if key else [name]
