"""Measured bytes of a row beside the predicted ones, counter by counter and pipeline rank by rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.validation.runs.predicting import Answered
from planner.validation.runs.readings import RankMemory, Reading
from planner.validation.runs.rows import RunRow

MIB, GIB = 2.0**20, 2.0**30
"""What frameworks and nvidia-smi print as GB is bytes / 2^30 (torch.cuda logs, DeepSpeed's see_memory_usage)."""


@dataclass(frozen=True)
class MemoryFigure:
    """One measured figure.

    Args:
        kind: counter: allocated, reserved, device_used, allocated_after_first_step, first_step_peak, unknown.
        rank: pipeline rank, None for the fullest.
        predicted_bytes: geometric middle of the readings; low and high: their extremes.
        by_setting: prediction of every reading, in their order.
    """

    kind: str
    rank: int | None
    measured_bytes: float
    predicted_bytes: float
    low_bytes: float
    high_bytes: float
    by_setting: tuple[float, ...]

    @property
    def error(self) -> float:
        return self.predicted_bytes / self.measured_bytes - 1.0


_COUNTERS: Mapping[str, Callable[[RankMemory], float]] = {
    "allocated": lambda memory: memory.peak_bytes,
    "reserved": lambda memory: memory.reserved_bytes,
    "device_used": lambda memory: memory.device_used_bytes,
    "allocated_after_first_step": lambda memory: memory.after_step_bytes,
    "first_step_peak": lambda memory: memory.first_step_peak_bytes,
    "allocated in passes": lambda memory: memory.passes_bytes,
    "reserved in passes": lambda memory: memory.passes_reserved_bytes,
    "unknown": lambda memory: memory.peak_bytes,
}


def memory_figures(answered: Answered, single: int | None = None) -> tuple[MemoryFigure, ...]:
    """Every memory figure of a predicted row.

    Args:
        single: pipeline rank on which a figure without a rank was read, None for the fullest.
    """
    row = answered.expressed.row
    readings = [reading for reading in answered.readings if reading.ranks]
    if not readings:
        return ()
    result = []
    for kind, place, measured in _measured(row, len(readings[0].ranks)):
        rank = single if place is None else place
        values = tuple(_predicted(reading, _counted(kind, row), rank) for reading in readings)
        low, high = min(values), max(values)
        result.append(MemoryFigure(kind, rank, measured, (low * high) ** 0.5, low, high, values))
    return tuple(result)


def _counted(kind: str, row: RunRow) -> str:
    """The counter behind a figure.

    Dynamic loss scaling starts so high that fp16's first iteration overflows and skips its update.
    """
    skipped = row.memory_kind == "allocated_after_first_step" and row.layout.precision == "fp16"
    return f"{kind} in passes" if kind in ("allocated", "reserved") and skipped else kind


def _predicted(reading: Reading, kind: str, rank: int | None) -> float:
    counter = _COUNTERS[kind]
    if rank is not None:
        return counter(reading.ranks[rank])
    return max(counter(memory) for memory in reading.ranks)


def _measured(row: RunRow, pp: int) -> Iterator[tuple[str, int | None, float]]:
    """(counter, pipeline rank, bytes); of the devices of a rank the fullest counts."""
    found, kind = row.measured, row.memory_kind or "unknown"
    devices = row.hardware.count or pp
    yield from _by_device(found.peak_allocated_mib_by_rank, pp)
    after: dict[int, float] = {}
    peak: dict[int, float] = {}
    for entry in found.memory_mib_by_rank:
        if len(entry) == 3:
            stage = min(int(entry[0]) * pp // devices, pp - 1)
            after[stage] = max(after.get(stage, 0.0), entry[1] * MIB)
            peak[stage] = max(peak.get(stage, 0.0), entry[2] * MIB)
    yield from (("allocated_after_first_step", stage, size) for stage, size in after.items())
    yield from (("first_step_peak", stage, size) for stage, size in peak.items())
    for name, table in (
        ("allocated_after_first_step", found.allocated_mib_by_stage),
        ("allocated", found.peak_memory_mib_by_stage),
        ("reserved", found.reserved_mib_by_stage_max),
    ):
        yield from ((name, int(stage), size * MIB) for stage, size in table.items() if int(stage) < pp)
    if found.peak_reserved_gib:
        yield "reserved", None, found.peak_reserved_gib * GIB
    fullest = found.peak_memory_gib or found.peak_memory_gb
    if fullest and not found.peak_allocated_mib_by_rank and not after:
        yield kind if kind in _COUNTERS else "unknown", None, fullest * GIB


def _by_device(sizes: Sequence[float], pp: int) -> Iterator[tuple[str, int | None, float]]:
    if len(sizes) % pp:
        return
    share = len(sizes) // pp
    for stage in range(pp if sizes else 0):
        yield "allocated", stage, max(sizes[stage * share : (stage + 1) * share]) * MIB
