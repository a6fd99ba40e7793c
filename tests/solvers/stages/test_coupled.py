"""The integer programme against enumeration, against its own seed, and under a time limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from planner.errors import NoAnswerError
from planner.solvers.linear import BACK_ENDS, BackEnd
from planner.solvers.stages import (
    CoupledProblem,
    best_coupled_stages,
    best_stages,
    coupled_cost,
    coupled_problem,
    stage_problem,
)
from planner.solvers.stages.milp import stage_programme
from planner.solvers.stages.solve import seed_plan
from tests.solvers.stages.enumeration import GB, MS, least_coupled_step, random_coupled, random_stages


@pytest.mark.parametrize("seed", range(50))
def test_equals_enumeration(seed: int) -> None:
    problem = random_coupled(seed)
    best = least_coupled_step(problem)
    back_end: BackEnd = BACK_ENDS[seed // 2 % 2]
    if best == math.inf:
        with pytest.raises(NoAnswerError):
            best_coupled_stages(problem, back_end, gap=0.0)
        return
    found = best_coupled_stages(problem, back_end, gap=0.0)
    assert found.step_s == pytest.approx(best, rel=1e-6)
    assert found.solution.status == "optimal"
    assert found.lower_bound_s <= best * (1 + 1e-6)
    assert found.gap <= 1e-5
    assert found.cost.keeps(problem)


def interleaved(layers: int = 61, ranks: int = 8, chunks: int = 2) -> CoupledProblem:
    """Three light layers, then heavy ones, on ranks with as many chunks and little memory."""
    kinds = np.ones(layers, np.int64)
    kinds[:3] = 0
    stages = ranks * chunks
    order = np.arange(ranks)
    flight = np.tile((2.0 * (ranks - 1 - order) + (chunks - 1) * ranks + 1) / chunks, chunks)
    fixed = np.zeros(stages)
    fixed[0], fixed[-1] = 1e-3, 4e-3
    part = stage_problem(
        kinds,
        np.array([[5.0, 5.2, 6.6], [9.0, 9.4, 12.0]]) * 1e-3,
        np.array([[3.0, 1.0, 0.3], [4.0, 1.5, 0.3]]) * 1e9,
        np.full(stages, layers / ranks * (2e9 + 1.8e9 * flight.mean())),
        64,
        static_bytes=np.array([[1.5e9, 2e9]]),
        in_flight=flight,
        fixed_s=fixed,
    )
    return coupled_problem(part, np.arange(stages) % ranks)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_a_time_limit_is_reported_and_the_seed_is_kept(back_end: BackEnd) -> None:
    problem = interleaved()
    found = best_coupled_stages(problem, back_end, time_limit_s=1.0, gap=0.0)
    assert found.solution.status == "feasible"
    assert found.gap > 0.0
    assert found.seed_s is not None
    assert found.step_s <= found.seed_s
    assert found.cost.keeps(problem)


@pytest.mark.parametrize("seed", range(100, 130))
def test_never_worse_than_the_seed(seed: int) -> None:
    problem = random_coupled(seed)
    start = seed_plan(problem)
    if start is None:
        return
    for time_limit_s in (1e-3, 5.0):
        found = best_coupled_stages(problem, time_limit_s=time_limit_s)
        assert found.step_s <= start.plan.step_s * (1 + 1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_one_stage_per_rank_is_the_dynamic_programme(seed: int) -> None:
    stages = random_stages(seed, GB, MS)
    plan = best_stages(stages)
    problem = coupled_problem(stages, np.arange(stages.stages))
    if plan is None:
        with pytest.raises(NoAnswerError):
            best_coupled_stages(problem, gap=0.0)
    else:
        assert coupled_cost(problem, plan.cuts, plan.modes).plan.step_s == pytest.approx(plan.step_s)
        assert best_coupled_stages(problem, gap=0.0).step_s == pytest.approx(plan.step_s, rel=1e-6)


def test_a_start_stands_for_its_plan() -> None:
    problem = interleaved()
    start = seed_plan(problem)
    assert start is not None
    made = stage_programme(problem)
    values = made.start(start.plan.cuts, start.plan.modes)
    assert made.programme.accepts(values)
    cuts, modes = made.plan(values)
    assert cuts.tolist() == start.plan.cuts.tolist()
    assert coupled_cost(problem, cuts, modes).plan.step_s == pytest.approx(start.plan.step_s)


def test_equal_layers_take_interleaved_1f1bs_step() -> None:
    """m v w + (p - 1) w for chunks of w seconds (arXiv 2104.04473, section 2.2.2)."""
    part = stage_problem(np.zeros(16, np.int64), np.ones((1, 1)), np.zeros((1, 1)), np.full(8, math.inf), 12)
    found = best_coupled_stages(coupled_problem(part, np.arange(8) % 4), gap=0.0)
    assert found.step_s == pytest.approx(12 * 2 * 2.0 + 3 * 2.0)


def test_a_full_host_sends_layers_back_to_recompute() -> None:
    """Two ranks on one host, each with four layers of 10 GB and room for 25: two of each must go, and the host takes three."""
    part = stage_problem(
        np.zeros(8, np.int64),
        np.array([[1.0, 1.1, 2.0]]),
        np.array([[10e9, 0.0, 0.0]]),
        np.full(2, 25e9),
        8,
        in_flight=np.ones(2),
    )
    moved = np.array([[0.0, 10e9, 0.0]])
    free = best_coupled_stages(coupled_problem(part, np.arange(2), host_bytes=moved), gap=0.0)
    assert np.bincount(free.cost.plan.modes, minlength=3).tolist() == [4, 4, 0]
    tight = coupled_problem(
        part, np.arange(2), host_bytes=moved, host=np.zeros(2, np.int64), host_capacity_bytes=np.array([30e9])
    )
    found = best_coupled_stages(tight, gap=0.0)
    assert np.bincount(found.cost.plan.modes, minlength=3)[2] == 1
    assert found.cost.host_held_bytes.tolist() == [30e9]


def test_a_slow_link_sets_the_pace() -> None:
    part = stage_problem(
        np.zeros(2, np.int64),
        np.array([[1.0, 1.0]]),
        np.array([[10e9, 0.0]]),
        np.full(2, 1e9),
        5,
        in_flight=np.ones(2),
    )
    problem = coupled_problem(
        part, np.arange(2), host_bytes=np.array([[0.0, 10e9]]), link_bytes_per_s=np.array([8e9])
    )
    found = best_coupled_stages(problem, gap=0.0)
    assert found.cost.pace_s == pytest.approx(2 * 2 * 10e9 / 8e9)  # two layers, out and back
    assert found.step_s == pytest.approx(4 * 5.0 + 2.0)


def test_who_is_to_blame_when_nothing_fits() -> None:
    part = stage_problem(np.zeros(4, np.int64), np.ones((1, 1)), np.full((1, 1), 5e9), np.full(2, 8e9), 8)
    with pytest.raises(NoAnswerError, match=r"memory \(device memory of each rank\).* GB"):
        best_coupled_stages(coupled_problem(part, np.arange(2)))


def test_ranks_need_equally_many_stages() -> None:
    part = stage_problem(np.zeros(4, np.int64), np.ones((1, 1)), np.zeros((1, 1)), np.full(3, math.inf), 8)
    with pytest.raises(ValueError, match="same number"):
        coupled_problem(part, np.array([0, 1, 0]))
