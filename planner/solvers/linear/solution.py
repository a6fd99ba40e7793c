"""What a solve gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from planner.solvers.linear.programme import Floats

Status = Literal["optimal", "feasible", "infeasible", "unbounded", "none"]


@dataclass(frozen=True, eq=False)
class Solution:
    """The best values found and what is proved of them.

    Args:
        status: ``optimal`` (proved within the gap that was asked for), ``feasible`` (the limit came first),
            ``infeasible``, ``unbounded``, or ``none`` (the limit came before any solution).
        values: per column, whole where the programme says so; None without a solution.
        objective: of the values; None without.
        bound: no solution has a lower objective; -inf when nothing is known, inf when there is none.
        seconds: wall time of the solve, building included.
        back_end: that solved it.
        from_start: whether the values are the start that was given, since the solver found nothing better.
    """

    status: Status
    values: Floats | None
    objective: float | None
    bound: float
    seconds: float
    back_end: str
    from_start: bool = False

    @property
    def gap(self) -> float | None:
        """(objective - bound) / |objective|; None without a solution, infinite without a bound."""
        if self.objective is None:
            return None
        return max(0.0, self.objective - self.bound) / max(abs(self.objective), 1e-12)

    @property
    def proved(self) -> bool:
        return self.status == "optimal"

    def to_json(self) -> dict[str, Any]:
        """Plain data, without the values."""
        gap = self.gap
        return {
            "status": self.status,
            "objective": self.objective,
            "lower_bound": self.bound if math.isfinite(self.bound) else None,
            "gap": None if gap == float("inf") else gap,
            "seconds": self.seconds,
            "back_end": self.back_end,
        }
