"""What a search over groups returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.solvers.mixed.plan import MixedPlan


@dataclass(frozen=True)
class Comparison:
    """Another way to use the cluster.

    Args:
        what: in words. plan: the best plan of that way, None where ``why_not`` says why there is none.
        step_s: seconds of a step, None without an answer. value: the objective.
        same_space: whether the answer was in the running; False for what a simpler planner would do.
    """

    what: str
    step_s: float | None
    value: float | None
    why_not: str | None
    same_space: bool
    plan: MixedPlan | None = None


@dataclass(frozen=True)
class MixedResult:
    """The best plan of each way to use the groups.

    Args:
        plans: best first, by the job's objective.
        comparisons: of the first plan with simpler ways.
        idle: names of the groups that the first plan leaves idle.
        gain: by how much the first plan beats the best one that uses all groups (where it leaves some idle), else the best
            single group; a fraction of the other one's value, None without one.
        space, certificate: what was searched and what is proved.
    """

    plans: tuple[MixedPlan, ...]
    comparisons: tuple[Comparison, ...]
    idle: tuple[str, ...]
    gain: float | None
    space: Mapping[str, Any]
    certificate: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --json`` prints it."""
        best = self.plans[0].value
        return {
            "plans": [plan.to_json(rank) for rank, plan in enumerate(self.plans, start=1)],
            "comparisons": [
                {
                    "what": item.what,
                    "step_time_s": item.step_s,
                    "value": item.value,
                    "slower_by": None if item.value is None else item.value / best - 1.0,
                    "why_not": item.why_not,
                }
                for item in self.comparisons
            ],
            "idle_groups": list(self.idle),
            "gain": self.gain,
            "space": dict(self.space),
            "certificate": dict(self.certificate),
        }
