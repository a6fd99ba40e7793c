"""What is predicted for one reading of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.validation.runs.express import Variant


@dataclass(frozen=True)
class RankMemory:
    """Bytes on one device of a pipeline rank.

    Args:
        after_step_bytes: states that stay after the first step; the peak of a first step knows no moments yet.
        passes_bytes: peak of forward and backward, the update apart.
        passes_reserved_bytes: what the allocator holds for them.
    """

    peak_bytes: float
    reserved_bytes: float
    device_used_bytes: float
    after_step_bytes: float
    first_step_peak_bytes: float
    passes_bytes: float
    passes_reserved_bytes: float


@dataclass(frozen=True)
class Reading:
    """What is predicted for one reading of a row.

    Args:
        interval_s: 80 % by the prior widths.
        device_used_bytes: of the fullest device.
        ranks: memory by pipeline rank, for rows that measured any.
    """

    variant: Variant
    step_time_s: float
    interval_s: tuple[float, float]
    parts: Mapping[str, float]
    device_used_bytes: float
    fits: bool
    ranks: tuple[RankMemory, ...]
