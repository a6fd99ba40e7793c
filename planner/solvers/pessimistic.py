"""A ranking by the upper ends of intervals: what plans take if the model is wrong to their disadvantage. Docs: docs/search.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from planner.costs.uncertainty import NORMAL_80, PARTS, loads, log_spread, support_of
from planner.errors import PlannerError
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job

POOL = 200
"""Plans by expected time that are ranked anew."""


@dataclass(frozen=True)
class Pessimistic:
    """Plans by the upper ends of their intervals, and what is known of the layouts outside the pool.

    Args:
        plans: best first, ranks renewed.
        claim: for the certificate.
    """

    plans: tuple[Prediction, ...]
    claim: dict[str, Any]


def check_objective(job: Job) -> None:
    """Refuse objectives that no interval belongs to.

    Raises:
        PlannerError: the objective is memory.
    """
    if job.search.objective == "memory":
        raise PlannerError(
            "'memory' does not depend on time; a pessimistic ranking needs another objective", field="--rank"
        )


def rank_pessimistic(job: Job, plans: Sequence[Prediction], *, whole: bool, finished: bool) -> Pessimistic:
    """Rank plans by the upper end of their interval (times devices for the objective cost).

    A layout outside the pool takes at least as long as the pool's last plan, and no interval is narrower than that of a
    step whose errors cancel best; when even so its upper end lies above the best one, the ranking's first plan is proved.

    Args:
        plans: by expected value, best first. whole: there are no other layouts that fit. finished: the search saw them all.
    """
    cost = job.search.objective == "cost"

    def value(plan: Prediction, seconds: float) -> float:
        devices = plan.tokens_per_s / plan.tokens_per_s_per_device
        return seconds * devices if cost else seconds

    ordered = sorted(plans, key=lambda plan: (value(plan, plan.interval_s[1]), plan.rank or 0))
    best = value(ordered[0], ordered[0].interval_s[1])
    last = max(value(plan, plan.step_time_s) for plan in plans)
    bound = last * smallest_factor(job)
    claim = {
        "ranked": len(plans),
        "best_s": ordered[0].interval_s[1],
        "bound_of_others": None if whole else bound,
        "proved": finished and (whole or best <= bound),
    }
    renewed = tuple(replace(plan, rank=place + 1) for place, plan in enumerate(ordered))
    return Pessimistic(renewed, claim)


def smallest_factor(job: Job) -> float:
    """Upper end over expected time of the narrowest interval that any layout of the job can have.

    With independent parts of variances v the variance of the sum is least for shares in proportion to 1 / v.
    """
    support, spreads = support_of(job), job.cluster.spreads
    each = [
        float(log_spread(spreads, loads(support, {name: np.array(float(name == part)) for name in PARTS})))
        ** 2
        for part in PARTS
    ]
    whole = float(log_spread(spreads, loads(support, {name: np.array(0.0) for name in PARTS}))) ** 2
    narrowest = 1.0 / sum(1.0 / max(square - whole, 1e-12) for square in each)
    return float(np.exp(NORMAL_80 * np.sqrt(whole + narrowest)))
