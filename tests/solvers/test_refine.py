"""A ranking refined by simulation: order, agreement, what is claimed; the simulation itself is stood in for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.simulator.simulation import simulate
from planner.solvers import refine as module
from planner.solvers.refine import TIME_LIMIT, refine, refined_search
from planner.solvers.refinement import Refinement, kendall_tau
from planner.solvers.result import SearchResult
from planner.solvers.search import search

TINY = {"preset": "llama3-8b", "layers": 4}
Simulate = Callable[[Job, Layout, Any], Any]


def small(make_job: Any, **options: Any) -> Job:
    job: Job = make_job(TINY, 8, 16, per_node=4, **options)
    return job


@pytest.fixture(scope="module")
def found(make_job: Any) -> tuple[Job, SearchResult]:
    job = small(make_job)
    return job, search(job, top=6)


def answers(job: Job, plans: tuple[Prediction, ...], seconds: Mapping[int, float | str]) -> Simulate:
    """A simulation that takes the given seconds for the plan of each closed-form rank; text refuses."""
    known = {
        parse_layout(plan.layout, job): seconds[plan.rank or 0] for plan in plans if plan.rank in seconds
    }

    def answer(job: Job, layout: Layout, options: Any) -> Any:
        value = known[layout]
        if isinstance(value, str):
            raise PlannerError(value)
        return SimpleNamespace(step_time_s=value)

    return answer


def ranks(refinement: Refinement) -> list[int]:
    return [item.closed_form_rank for item in refinement.plans]


def test_the_order_is_that_of_simulated_time(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, result = found
    monkeypatch.setattr(module, "simulate", answers(job, result.plans, {1: 4.4, 2: 5.0, 3: 4.0, 4: 4.2}))
    refinement = refine(job, result.plans, count=4)
    # 3 and 4 overtake 1; the two that were not simulated stay behind.
    assert ranks(refinement) == [3, 4, 1, 2, 5, 6]
    assert [item.plan.rank for item in refinement.plans] == [1, 2, 3, 4, 5, 6]
    assert [item.simulated_rank for item in refinement.plans] == [1, 2, 3, 4, None, None]
    assert [item.plan.simulated_step_time_s for item in refinement.plans] == [4.0, 4.2, 4.4, 5.0, None, None]
    assert [item.closed_form_s for item in refinement.plans] == [
        result.plans[rank - 1].step_time_s for rank in ranks(refinement)
    ]
    assert refinement.best_changed
    assert refinement.gain == pytest.approx(4.4 / 4.0 - 1)
    first = refinement.plans[0]
    assert first.difference == pytest.approx(4.0 / result.plans[2].step_time_s - 1)
    # Concordant pairs of (1, 2, 3, 4) against (4.4, 5.0, 4.0, 4.2): 1-2, 3-4; discordant: the other four.
    assert refinement.kendall_tau == pytest.approx((2 - 4) / 6)


def test_a_simulation_like_the_closed_form_changes_nothing(
    found: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, result = found
    same = {plan.rank: 1.03 * plan.step_time_s for plan in result.plans}
    monkeypatch.setattr(module, "simulate", answers(job, result.plans, same))
    refinement = refine(job, result.plans, count=50)
    assert ranks(refinement) == [1, 2, 3, 4, 5, 6]
    assert not refinement.best_changed
    assert refinement.gain == 0.0
    assert refinement.largest_difference == pytest.approx(0.03)
    assert refinement.kendall_tau == pytest.approx(1.0)


def test_rounding_does_not_reorder(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, result = found
    nearly = {rank: 5.0 * (1 - rank * 1e-14) for rank in range(1, 7)}
    monkeypatch.setattr(module, "simulate", answers(job, result.plans, nearly))
    refinement = refine(job, result.plans, count=6)
    assert ranks(refinement) == [1, 2, 3, 4, 5, 6]
    assert refinement.kendall_tau is None


def test_what_cannot_be_simulated_says_why(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, result = found
    monkeypatch.setattr(module, "simulate", answers(job, result.plans, {1: "too large", 2: 6.0, 3: 5.0}))
    refinement = refine(job, result.plans[:4], count=3)
    assert ranks(refinement) == [3, 2, 1, 4]
    refused = refinement.plans[2]
    assert refused.reason == "too large"
    assert refused.plan == replace(result.plans[0], rank=3)
    # The former best has no simulated time to compare with.
    assert refinement.gain is None
    answer = refinement.to_json()
    assert answer["simulated"] == 2
    assert [row["not_simulated_because"] for row in answer["plans"]] == [None, None, "too large"]
    assert answer["plans"][2]["closed_form_s"] == result.plans[0].step_time_s


def test_nothing_simulated_keeps_the_order(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, result = found
    monkeypatch.setattr(module, "simulate", None)
    refinement = refine(job, result.plans, count=2, deadline_s=time.monotonic())
    assert ranks(refinement) == [1, 2, 3, 4, 5, 6]
    assert [item.reason for item in refinement.plans] == [TIME_LIMIT, TIME_LIMIT, None, None, None, None]
    assert refinement.kendall_tau is None
    assert refinement.gain is None
    assert refinement.largest_difference is None
    assert not refinement.best_changed


def test_the_simulator_is_asked_about_the_plans_layout(found: Any) -> None:
    job, result = found
    refinement = refine(job, result.plans, count=2)
    for item in refinement.simulated:
        layout = parse_layout(item.plan.layout, job)
        assert item.simulated_s == pytest.approx(simulate(job, layout).step_time_s, rel=1e-12)


def test_memory_has_nothing_to_refine(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "search", None)
    with pytest.raises(PlannerError, match=r"'memory'.*accepts: step_time, cost, devices") as caught:
        refined_search(small(make_job, objective="memory"), count=2)
    assert caught.value.field == "search.objective"
    assert caught.value.exit_code == 2


def test_cost_weighs_simulated_time_by_devices(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = small(make_job, objective="cost", allow={"idle_devices": True})
    few, many = (
        predict(job, parse_layout({"dp": dp, "micro_batch": 1}, job), rank=rank)
        for rank, dp in ((1, 4), (2, 8))
    )
    # 4 x 3.0 = 12 device-seconds against 8 x 1.4 = 11.2: the faster one is cheaper; at 8 x 1.6 = 12.8 it is not.
    for seconds, order in ((1.4, [2, 1]), (1.6, [1, 2])):
        monkeypatch.setattr(module, "simulate", answers(job, (few, many), {1: 3.0, 2: seconds}))
        assert ranks(refine(job, (few, many), count=2)) == order


def test_fewest_devices_are_simulated_on_their_own_cluster(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search(small(make_job), top=1).plans[0]
    job = small(make_job, objective="devices", target={"tokens_per_s": 0.4 * whole.tokens_per_s})
    limit_s = job.training.tokens_per_step / (0.4 * whole.tokens_per_s)
    seen = []

    def slower(used: Job, layout: Layout, options: Any) -> Any:
        seen.append((used.devices, layout.tp * layout.cp * layout.pp * layout.dp))
        return SimpleNamespace(step_time_s=limit_s * (0.9 + 0.2 * (len(seen) > 1)))

    monkeypatch.setattr(module, "simulate", slower)
    result, refinement = refined_search(job, count=2, top=2)
    assert seen
    assert all(devices == used < 8 for devices, used in seen)
    assert [item.meets_target for item in refinement.simulated] == [True, False][: len(seen)]
    assert result.certificate["simulation"]["proved"] is False


def test_the_certificate_claims_no_more_than_is_known(make_job: Any) -> None:
    job = small(make_job)
    result, refinement = refined_search(job, count=3, top=2)
    closed = search(job, top=4)
    claim = result.certificate["simulation"]
    assert result.certificate | {"simulation": None} == closed.certificate | {"simulation": None}
    assert len(result.plans) == 2
    assert claim["simulated"] == 3
    assert claim["best_s"] == min(item.simulated_s for item in refinement.simulated)
    assert claim["closed_form_of_next_s"] == closed.plans[3].step_time_s
    assert claim["smallest_ratio"] == min(
        item.simulated_s / item.closed_form_s for item in refinement.simulated
    )  # type: ignore[operator]
    assert claim["ratio_to_win"] == pytest.approx(claim["best_s"] / closed.plans[3].step_time_s)
    assert claim["proved"] is False


@pytest.mark.parametrize(("count", "proved"), [(1, False), (50, True)])
def test_simulating_all_that_fits_is_a_proof(make_job: Any, count: int, proved: bool) -> None:
    fixed = {"tp": 2, "cp": 1, "pp": 1, "zero_stage": 1, "micro_batch": 1, "sp": True, "recompute": "none"}
    job = small(make_job, fix=fixed, allow={"offload": ["none", {"optimizer": "host"}]})
    result, refinement = refined_search(job, count=count)
    assert len(refinement.plans) == result.space["candidates"] - result.space["pruned"]["memory"] == 2
    assert result.certificate["simulation"]["proved"] is proved


def test_time_limit_is_for_both_parts(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = small(make_job)
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    found = search(job, top=4)

    def ten_seconds(*args: Any, **options: Any) -> Any:
        assert options["time_limit_s"] == 9.0
        now[0] += 10.0
        return found

    def five_seconds(*args: Any) -> Any:
        now[0] += 5.0
        return SimpleNamespace(step_time_s=1.0)

    monkeypatch.setattr(module, "search", ten_seconds)
    monkeypatch.setattr(module, "simulate", five_seconds)
    _, refinement = refined_search(job, count=4, time_limit_s=18.0)
    # Simulations begin at 10 s and 15 s; the third would begin at 20 s.
    assert [item.reason for item in refinement.plans] == [None, None, TIME_LIMIT, TIME_LIMIT]


def test_progress_names_the_layout(found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job, result = found
    monkeypatch.setattr(module, "simulate", answers(job, result.plans, {1: 1.0, 2: 1.0, 3: 1.0}))
    seen: list[tuple[float, str]] = []
    refine(job, result.plans, count=3, progress=lambda done, message: seen.append((done, message)))
    assert seen == [(index / 3, f"simulating layout {index + 1} of 3") for index in range(3)]


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3], [1, 3, 2], 1 / 3),
        # One tie in the second: 5 untied pairs there, 6 in the first, 5 concordant.
        ([1, 2, 3, 4], [1, 2, 2, 3], 5 / math.sqrt(30)),
        ([1, 1], [1, 2], None),
        ([1], [1], None),
        ([], [], None),
    ],
)
def test_kendall_tau(first: list[float], second: list[float], tau: float | None) -> None:
    assert kendall_tau(first, second) == (None if tau is None else pytest.approx(tau))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12))
def test_kendall_tau_properties(pairs: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    tau = kendall_tau(first, second)
    assert tau == kendall_tau(second, first)
    if tau is not None:
        assert -1 - 1e-12 <= tau <= 1 + 1e-12
        assert kendall_tau(first, [-value for value in second]) == pytest.approx(-tau)
