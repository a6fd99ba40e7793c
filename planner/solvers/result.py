"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.jobs.prediction import Prediction
from planner.solvers.noise import Noise


@dataclass(frozen=True)
class SearchResult:
    """The ranking with its proof.

    Args:
        plans: best first, predicted in full.
        space: knobs, candidates, evaluated, pruned by reason, seconds.
        certificate: what is proved: exact_for, best_s, lower_bound_s, gap, proved.
        pareto: points (layout, step_time_s, device_used_bytes, devices, cost) that no layout beats in all respects.
        noise: which plans the model cannot tell from the first one, and which are worth a trial.
    """

    plans: tuple[Prediction, ...]
    space: Mapping[str, Any]
    certificate: Mapping[str, Any]
    pareto: tuple[Mapping[str, Any], ...]
    noise: Noise

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --json`` prints it."""
        return {
            "plans": [plan.to_json() for plan in self.plans],
            "space": dict(self.space),
            "certificate": dict(self.certificate),
            "noise": self.noise.to_json(),
            "pareto": [dict(point) for point in self.pareto],
        }
