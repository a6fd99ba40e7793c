"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.jobs.prediction import Prediction
from planner.solvers.noise import Noise
from planner.solvers.pareto import DEFAULT_AXES, SECONDS_PER_HOUR, TOKENS, Axis


@dataclass(frozen=True)
class SearchResult:
    """The ranking with its proof.

    Args:
        plans: best first, predicted in full.
        space: knobs, candidates, evaluated, pruned by reason, seconds.
        certificate: what is proved: exact_for, best_s, lower_bound_s, gap, proved.
        pareto: points (layout, step_time_s, device_used_bytes, devices, cost) that no layout beats in all respects.
        noise: which plans the model cannot tell from the first one, and which are worth a trial.
        pareto_axes: in which no layout beats the points of ``pareto``.
        price_per_device_hour: of the cluster, None when unknown.
    """

    plans: tuple[Prediction, ...]
    space: Mapping[str, Any]
    certificate: Mapping[str, Any]
    pareto: tuple[Mapping[str, Any], ...]
    noise: Noise
    pareto_axes: tuple[Axis, ...] = DEFAULT_AXES
    price_per_device_hour: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --json`` prints it."""
        return {
            "plans": [plan.to_json() for plan in self.plans],
            "space": dict(self.space),
            "certificate": dict(self.certificate),
            "noise": self.noise.to_json(),
            "pareto": [dict(point) for point in self.pareto],
            "pareto_axes": list(self.pareto_axes),
            "money": self.money(),
        }

    def money(self) -> dict[str, Any] | None:
        """The price and what a million tokens cost under each plan, in its currency; None without a price."""
        price = self.price_per_device_hour
        if price is None:
            return None
        costs = [cost_per_million_tokens(price, plan) for plan in self.plans]
        return {"price_per_device_hour": price, "cost_per_million_tokens": costs}


def cost_per_million_tokens(price_per_device_hour: float, plan: Prediction) -> float:
    """Money for a million tokens, in the currency of the price."""
    return price_per_device_hour / SECONDS_PER_HOUR * TOKENS / plan.tokens_per_s_per_device
