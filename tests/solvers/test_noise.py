"""What a ranking cannot resolve, and the ranking by upper ends: by hand for two plans, by brute force for a small job."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.uncertainty import PARTS, Support, interval_of, loads, log_spread, ratio_spread
from planner.errors import PlannerError
from planner.hardware.spreads import Spreads
from planner.jobs.types import Job
from planner.solvers.noise import LEAST_CHANCE, noise_of
from planner.solvers.pessimistic import smallest_factor
from planner.solvers.search import search

TINY = {"preset": "llama3-8b", "layers": 4}
FITTED = Support(kernels=True, links=True, framework=True, source=True)
SPREADS = Spreads(compute=0.1, communication=0.2, host=0.3, optimizer=0.4, bubble=0.5, layout=0.02)


def shares(compute: float, communication: float) -> dict[str, float]:
    return {**dict.fromkeys(PARTS, 0.0), "compute": compute, "communication": communication}


def spread_of(support: Support, spreads: Spreads, split: dict[str, float]) -> float:
    return float(log_spread(spreads, loads(support, {name: np.array(v) for name, v in split.items()})))


def small(make_job: Any, **search_options: Any) -> Job:
    job: Job = make_job(TINY, 8, 16, per_node=4, **search_options)
    return job


def test_independent_parts_by_hand() -> None:
    assert spread_of(FITTED, SPREADS, shares(0.8, 0.2)) == pytest.approx(math.hypot(0.08, 0.04))


def test_layouts_with_the_same_shares_differ_by_their_own_noise_only() -> None:
    same = shares(0.8, 0.2)
    assert ratio_spread(FITTED, SPREADS, same, same) == pytest.approx(0.02 * math.sqrt(2))
    apart = ratio_spread(FITTED, SPREADS, same, shares(0.6, 0.4))
    assert apart == pytest.approx(math.sqrt((0.2 * 0.1) ** 2 + (0.2 * 0.2) ** 2 + 2 * 0.02**2))


@pytest.mark.parametrize("missing", ["kernels", "links", "framework", "source"])
def test_what_was_not_fitted_widens_the_interval(missing: str) -> None:
    split = dict.fromkeys(PARTS, 0.2)
    lacking = replace(FITTED, **{missing: False})
    assert spread_of(lacking, Spreads(), split) > spread_of(FITTED, Spreads(), split)


@pytest.mark.parametrize("missing", ["links", "framework"])
def test_exposed_traffic_rests_on_links_and_on_what_the_profile_hides(missing: str) -> None:
    """Either of the two unfitted: the spread of the prior comes in once, and nothing else of the traffic's."""
    spreads = SPREADS.model_copy(update={"communication_prior": 0.3, "framework_prior": 0.0})
    lacking = replace(FITTED, **{missing: False})
    assert spread_of(lacking, spreads, shares(0.0, 1.0)) == pytest.approx(math.hypot(0.2, 0.3))
    both = replace(FITTED, links=False, framework=False)
    assert spread_of(both, spreads, shares(0.0, 1.0)) == pytest.approx(math.hypot(0.2, 0.3))


def test_features_without_data_widen_the_interval(make_job: Any) -> None:
    job = small(make_job)
    plan = search(job, top=1).plans[0]
    known = interval_of(job, plan.time, plan.step_time_s, 8)
    unknown = interval_of(job, plan.time, plan.step_time_s, 16)
    assert unknown[0] < known[0] < plan.step_time_s < known[1] < unknown[1]


def test_chances_of_a_ranking_by_hand(make_job: Any) -> None:
    """Two copies of a plan, one slower by twice the spread of a ratio: its chance is the normal tail at two."""
    job = small(make_job)
    (plan,) = search(job, top=1).plans
    spread = math.sqrt(2) * job.cluster.spreads.layout
    slower = replace(plan, step_time_s=plan.step_time_s * math.exp(2 * spread))
    noise = noise_of(job, [plan, plan, slower])
    assert [s.chance for s in noise.standings] == pytest.approx([0.5, 0.5, 0.0227501], rel=1e-4)
    assert [s.within for s in noise.standings] == [True, True, False]
    assert noise.trials == (0, 1)


def test_the_ranking_says_what_it_cannot_tell(make_job: Any) -> None:
    answer = search(small(make_job), top=20)
    noise = answer.to_json()["noise"]
    assert noise["within"][0] == noise["try"][0] == 1
    assert len(noise["try"]) <= 3
    assert set(noise["try"]) <= set(noise["within"])
    for entry, plan in zip(noise["plans"], answer.plans, strict=True):
        assert entry["behind"] == pytest.approx(plan.step_time_s / answer.plans[0].step_time_s - 1)
        assert (entry["chance_faster"] >= LEAST_CHANCE) == (entry["rank"] in noise["within"])


def test_pessimistic_ranking_equals_brute_force(make_job: Any) -> None:
    """All layouts of a small space predicted one by one, sorted by the upper ends of their intervals."""
    job = small(make_job, fix={"zero_stage": 1, "offload": "none", "cp": 1, "recompute": "none", "sp": False})
    everything = search(job, top=100_000, prune=False).plans
    best = sorted(plan.interval_s[1] for plan in everything)[:5]
    found = search(job, top=5, pessimistic=True)
    assert [plan.interval_s[1] for plan in found.plans] == best
    assert [plan.rank for plan in found.plans] == [1, 2, 3, 4, 5]
    claim = found.certificate["pessimistic"]
    assert claim["best_s"] == best[0]
    assert claim["proved"]


def test_no_interval_is_narrower_than_the_bound(make_job: Any) -> None:
    job = small(make_job)
    plans = search(job, top=50).plans
    narrowest = min(plan.interval_s[1] / plan.step_time_s for plan in plans)
    assert 1.0 < smallest_factor(job) <= narrowest


def test_memory_has_no_pessimistic_time(make_job: Any) -> None:
    with pytest.raises(PlannerError, match="another objective"):
        search(small(make_job, objective="memory"), pessimistic=True)
