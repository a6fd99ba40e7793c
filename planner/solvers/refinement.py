"""What a refinement by simulation returns: the plans in their new order, and how far it is from the old one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from planner.jobs.prediction import Prediction


@dataclass(frozen=True)
class RefinedPlan:
    """One plan before and after simulation.

    Args:
        plan: with its new rank and its simulated step time.
        closed_form_rank: its place before.
        simulated_rank: its place now; None when it was not simulated, which puts it behind those that were.
        simulated_s: seconds of a simulated step; None when it was not simulated.
        reason: why it was not simulated, else None.
        meets_target: whether the simulated step is within the target of the objective ``devices``; None without one.
    """

    plan: Prediction
    closed_form_rank: int
    simulated_rank: int | None = None
    simulated_s: float | None = None
    reason: str | None = None
    meets_target: bool | None = None

    @property
    def closed_form_s(self) -> float:
        return self.plan.step_time_s

    @property
    def difference(self) -> float | None:
        """Simulated over closed-form step time, minus 1."""
        return None if self.simulated_s is None else self.simulated_s / self.closed_form_s - 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "layout": dict(self.plan.layout),
            "closed_form_rank": self.closed_form_rank,
            "simulated_rank": self.simulated_rank,
            "closed_form_s": self.closed_form_s,
            "simulated_s": self.simulated_s,
            "difference": self.difference,
            "not_simulated_because": self.reason,
            "meets_target": self.meets_target,
        }


@dataclass(frozen=True)
class Refinement:
    """A ranking after simulation.

    Args:
        plans: those simulated by the objective with their simulated time, then the others as the closed form ranks them.
        requested: how many were to be simulated.
        kendall_tau: agreement of both orders of the simulated plans (tau-b), None where either has no order.
        gain: former best's objective over the new best's, both simulated, minus 1; None when either was not simulated.
        seconds: spent on simulation.
    """

    plans: tuple[RefinedPlan, ...]
    requested: int
    kendall_tau: float | None
    gain: float | None
    seconds: float

    @property
    def simulated(self) -> tuple[RefinedPlan, ...]:
        """The plans that were simulated, best first."""
        return tuple(item for item in self.plans if item.simulated_s is not None)

    @property
    def best_changed(self) -> bool:
        """Whether another plan than the closed form's first is best now."""
        return self.plans[0].closed_form_rank != 1

    @property
    def largest_difference(self) -> float | None:
        """The difference of simulated and closed-form time that is farthest from 0."""
        found = [item.difference for item in self.plans if item.difference is not None]
        return max(found, key=abs) if found else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --refine N --json`` prints it."""
        return {
            "requested": self.requested,
            "simulated": len(self.simulated),
            "kendall_tau": self.kendall_tau,
            "best_changed": self.best_changed,
            "gain": self.gain,
            "largest_difference": self.largest_difference,
            "seconds": self.seconds,
            "plans": [item.to_json() for item in self.plans if item.simulated_s is not None or item.reason],
        }


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's rank correlation of two series, ties counted as in tau-b (Kendall 1945, Biometrika 33:239).

    Returns:
        1 for the same order, -1 for the opposite one; None when all values of a series are equal.
    """
    one, two = (np.sign(np.subtract.outer(values, values)) for values in (np.array(first), np.array(second)))
    scale = math.sqrt(float((one != 0).sum()) * float((two != 0).sum()))
    return float((one * two).sum()) / scale if scale else None
