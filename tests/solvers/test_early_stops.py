"""A search that stops early: its bound is true, its best is found, and it says what is not proved."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.errors import NoAnswerError
from planner.jobs.types import Job
from planner.solvers import search as searching
from planner.solvers import sweep as sweeping
from planner.solvers.ranking import objective_values
from planner.solvers.search import certificate, checked_space, search
from planner.solvers.sweep import Sweep, SweepOptions, sweep_space
from tests.solvers.brute_force import Everything
from tests.solvers.test_exactness import problem

TINY = {"preset": "llama3-8b", "layers": 4}
OBJECTIVES = st.sampled_from(("step_time", "memory", "cost"))
SEEDS = st.integers(1000, 1004)


known = cache(problem)


def stopped_after(blocks: int) -> Callable[[], float]:
    """A clock that stands still at 0 while that many blocks are begun, and at 1 from then on."""
    asked = count()
    return lambda: float(next(asked) >= blocks)


def check_claims(job: Job, sweep: Sweep, every: Everything, objective: str) -> None:
    """The bound is below the true optimum and the best is a layout's own; proved only if it is the optimum."""
    optimum = min(every.values(objective))[0]
    assert sweep.lower_bound <= optimum
    points = sweep.ranking.points
    if not len(points):
        assert not sweep.finished
        return
    values = objective_values(sweep.ranking.objective, points.time_s, points.memory_bytes, points.devices)
    assert {(value, points.layouts.row(place)) for place, value in enumerate(values.tolist())} <= {
        (own[0], row) for row, own in zip(every.rows, every.values(objective), strict=True)
    }
    proof = certificate(job, sweep)
    assert values[0] * (1.0 - proof["gap"]) <= optimum * (1.0 + 1e-12)
    if proof["proved"]:
        assert values[0] == optimum


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS, objective=OBJECTIVES, blocks=st.integers(0, 5), pareto=st.booleans())
def test_bound_of_a_search_cut_after_some_blocks(
    monkeypatch: pytest.MonkeyPatch, seed: int, objective: Any, blocks: int, pareto: bool
) -> None:
    job, every = known(seed)
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "time", SimpleNamespace(monotonic=stopped_after(blocks)))
        options = SweepOptions(top=2, deadline_s=0.5, block_rows=8, pareto=pareto)
        sweep = sweep_space(job, checked_space(job), options, objective)
    check_claims(job, sweep, every, objective)
    counted = sum(sweep.pruned.values()) + sweep.evaluated
    assert counted == checked_space(job).size


@settings(max_examples=15)
@given(seed=SEEDS, objective=OBJECTIVES, gap=st.floats(0.001, 0.9))
def test_bound_of_a_search_that_stops_within_a_gap(seed: int, objective: Any, gap: float) -> None:
    job, every = known(seed)
    sweep = sweep_space(job, checked_space(job), SweepOptions(top=2, gap=gap, block_rows=8), objective)
    check_claims(job, sweep, every, objective)
    assert certificate(job, sweep)["gap"] <= gap


def test_time_limit_returns_the_best_so_far_and_says_that_it_is_not_proved(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("llama3-8b", 64, 128, framework="megatron-core")
    whole = search(job, top=1)
    clock = SimpleNamespace(monotonic=stopped_after(2))  # asked at the begin, and before each block
    monkeypatch.setattr(sweeping, "time", clock)
    monkeypatch.setattr(searching, "time", clock)
    cut = search(job, top=1, time_limit_s=0.5)
    assert cut.certificate["proved"] is False
    assert cut.certificate["gap"] > 0
    assert cut.certificate["lower_bound_s"] <= whole.plans[0].step_time_s <= cut.plans[0].step_time_s
    assert cut.space["pruned"]["time_limit"] > 0
    assert sum(cut.space["pruned"].values()) + cut.space["evaluated"] == cut.space["candidates"]


def test_time_limit_without_a_layout_yet_is_no_answer(make_job: Any) -> None:
    with pytest.raises(NoAnswerError, match="time limit"):
        search(make_job(TINY, 8, 16, per_node=4), time_limit_s=0.0)
