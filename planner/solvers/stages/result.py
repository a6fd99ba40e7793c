"""What a search with uneven stages returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.solvers.result import SearchResult
from planner.solvers.stages.uneven import UnevenStages


@dataclass(frozen=True)
class StagedPlan:
    """One pipeline before and after.

    Args:
        before, after: predicted in full.
        rank_before: its place in the search's ranking.
        reason: why it keeps its stages, None when it need not.
    """

    stages: UnevenStages
    before: Prediction
    after: Prediction
    rank_before: int
    reason: str | None = None

    @property
    def step_s(self) -> float:
        """Seconds per step by the closed form."""
        return self.after.step_time_s

    @property
    def gain(self) -> float | None:
        """Fraction of the step that uneven stages save by the closed form; None where the one before does not fit."""
        if not self.stages.before_fits:
            return None
        return 1.0 - self.step_s / self.before.step_time_s

    @property
    def simulated_gain(self) -> float | None:
        """The same by simulation; None where it was not simulated."""
        before, after = self.before.simulated_step_time_s, self.after.simulated_step_time_s
        return None if before is None or after is None else 1.0 - after / before

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        found = self.stages
        return {
            "rank": self.after.rank,
            "rank_before": self.rank_before,
            "layout_before": dict(self.before.layout),
            "layout": dict(self.after.layout),
            "step_time_before_s": self.before.step_time_s,
            "step_time_s": self.step_s,
            "fits_before": found.before_fits,
            "gain": self.gain,
            "simulated_before_s": self.before.simulated_step_time_s,
            "simulated_s": self.after.simulated_step_time_s,
            "simulated_gain": self.simulated_gain,
            "method": found.method,
            "programme": None if found.solution is None else found.solution.to_json(),
            "rounds": found.rounds,
            "reason": self.reason,
            "seconds": found.seconds,
        }


@dataclass(frozen=True)
class StagedSearch:
    """The best pipelines with uneven stages, fastest first, and the search that they come from.

    Args:
        roomier: times the devices' memory that the search assumed; above 1 when no uniform layout fits.
    """

    job: Job
    plans: tuple[StagedPlan, ...]
    search: SearchResult
    roomier: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --stages N --json`` prints it."""
        found = self.search.to_json()
        return {
            "plans": [plan.after.to_json() for plan in self.plans],
            "stages": [plan.to_json() for plan in self.plans],
            "searched_with_memory": self.roomier,
            "space": found["space"],
            "certificate": found["certificate"],
        }
