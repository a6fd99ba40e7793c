"""What a rank writes about its run, and what it reads like beside the other ranks'."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from planner.documents.writing import write_text
from planner.validation.structure.record import TracedCall

SETTINGS = "settings.json"
GRADIENTS, RESULT = "gradients-{rank}.pt", "rank-{rank}.json"
"""Files of a run's folder; a rank's result is the last that it writes."""


@dataclass(frozen=True)
class RankResult:
    """One rank's run.

    Args:
        rank, pipeline_rank: its places.
        losses: per step its share of the loss (0 where it has no last stage, or another tp rank counts it).
        seconds: per timed step.
        calls: collectives and messages sent in one step.
        peak_bytes: most bytes alive in one step; None where they were not counted.
        device: as PyTorch names it; library: PyTorch's version.
    """

    rank: int
    pipeline_rank: int
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    calls: tuple[TracedCall, ...]
    peak_bytes: int | None
    device: str
    library: str

    def write(self, folder: Path) -> None:
        """Into its file of the run's folder."""
        write_text(folder / RESULT.format(rank=self.rank), json.dumps(asdict(self)))


@dataclass(frozen=True)
class RunResult:
    """All ranks of a run, by rank."""

    ranks: tuple[RankResult, ...]

    @property
    def losses(self) -> tuple[float, ...]:
        """Of each step: over all tokens of the global batch."""
        return tuple(sum(step) for step in zip(*(rank.losses for rank in self.ranks), strict=True))

    @property
    def seconds(self) -> tuple[float, ...]:
        """Of each timed step: of the slowest rank."""
        return tuple(max(step) for step in zip(*(rank.seconds for rank in self.ranks), strict=True))

    @property
    def peak_bytes(self) -> int | None:
        """Of the fullest rank."""
        known = [rank.peak_bytes for rank in self.ranks if rank.peak_bytes is not None]
        return max(known, default=None)


def read_results(folder: Path, ranks: int) -> RunResult:
    """The results that all ranks wrote."""
    return RunResult(tuple(_read(folder / RESULT.format(rank=rank)) for rank in range(ranks)))


def ended(folder: Path, ranks: int) -> bool:
    """Whether all ranks wrote their results."""
    return all((folder / RESULT.format(rank=rank)).exists() for rank in range(ranks))


def _read(file: Path) -> RankResult:
    data: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    calls = tuple(TracedCall(**call) for call in data.pop("calls"))
    losses, seconds = tuple(data.pop("losses")), tuple(data.pop("seconds"))
    return RankResult(calls=calls, losses=losses, seconds=seconds, **data)
