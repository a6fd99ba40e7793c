"""What is predicted for one layout, in the shape that programs read (``plan ... --json``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EXPOSED_AXES = ("tp", "cp", "ep", "etp", "pp", "dp", "edp", "offload")
MEMORY_CLASSES = (
    "parameters",
    "gradients",
    "optimizer",
    "gathered_parameters",
    "activations",
    "transient",
    "logits",
    "communication_buffers",
    "optimizer_transient",
)

Pass = Literal["forward", "backward", "recompute", "optimizer"]


@dataclass(frozen=True)
class TimeBreakdown:
    """Seconds of one rank's step; every instant belongs to one class, so the parts add up to the step.

    ``of_which`` splits compute_s: recompute_s (repeated forward work) and contention_s (slow-down by overlapped traffic).
    """

    compute_s: float
    optimizer_s: float
    exposed: Mapping[str, float]
    host_s: float
    bubble_s: float
    of_which: Mapping[str, float] = field(default_factory=dict)

    @property
    def total_s(self) -> float:
        return self.compute_s + self.optimizer_s + sum(self.exposed.values()) + self.host_s + self.bubble_s


@dataclass(frozen=True)
class MemoryBreakdown:
    """Bytes on one device at the worst instant; ``by_class`` adds up to ``peak_bytes``."""

    capacity_bytes: float
    peak_bytes: float
    reserved_bytes: float
    device_used_bytes: float
    reserve_bytes: float
    fits: bool
    peak_at: str
    by_class: Mapping[str, float]
    by_rank: tuple[float, ...] = ()


@dataclass(frozen=True)
class CommunicationRow:
    """One kind of transfer of one rank's step. ``bytes_per_call`` is nccl-tests' size (larger of input and output)."""

    what: str
    collective: str
    axis: str
    pass_: Pass
    ranks: int
    ranks_per_level: tuple[float, ...]
    algorithm: str
    bytes_per_call: float
    calls_per_step: float
    seconds: float
    exposed_s: float


@dataclass(frozen=True)
class RankPrediction:
    """One pipeline rank."""

    pipeline_rank: int
    virtual_stages: tuple[int, ...]
    layers: int
    flops: float
    time: TimeBreakdown
    memory: MemoryBreakdown
    communication: tuple[CommunicationRow, ...]


@dataclass(frozen=True)
class Prediction:
    """One layout's prediction; top-level figures are those of the busiest pipeline rank."""

    rank: int | None
    layout: Mapping[str, Any]
    step_time_s: float
    interval_s: tuple[float, float]
    expected_step_time_s: float
    goodput: float
    tokens_per_s: float
    tokens_per_s_per_device: float
    mfu: float
    hfu: float
    model_tflops_per_device: float
    flops_convention: str
    time: TimeBreakdown
    memory: MemoryBreakdown
    communication: tuple[CommunicationRow, ...]
    flops_per_device: float
    ranks: tuple[RankPrediction, ...]
    evidence: tuple[str, ...] = ()
    budget: Mapping[str, float] | None = None
    """For a token budget: days, device_hours, cost, energy_kwh (those that are known)."""
    simulated_step_time_s: float | None = None
    """Step time of an event simulation, where one was run; all other figures stay those of the closed form."""

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON and plan files."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {("pass" if key == "pass_" else str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        return value.item()
    return value
