"""The dynamic programme against every cut and mode, and what must hold of larger ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.solvers.stages import StageProblem, best_stages, priced, stage_problem
from tests.solvers.stages.enumeration import least_step, random_stages


@pytest.mark.parametrize("seed", range(120))
def test_equals_enumeration(seed: int) -> None:
    problem = random_stages(seed)
    plan, best = best_stages(problem), least_step(problem)
    if plan is None:
        assert best == math.inf
        return
    assert plan.step_s == best
    assert (plan.bytes <= problem.capacity_bytes).all()
    assert ((np.diff(plan.cuts) >= 1) | problem.may_be_empty).all()
    assert (plan.cuts[0], plan.cuts[-1]) == (0, len(problem.layers))
    assert priced(problem, plan.cuts, plan.modes).step_s == plan.step_s


def test_both_outcomes_occur_in_the_random_problems() -> None:
    found = [best_stages(random_stages(seed)) is None for seed in range(120)]
    assert 5 < sum(found) < 60


def many_layers(capacity: float, stages: int = 8, head_s: float = 0.0) -> StageProblem:
    """48 equal layers that take 1 s and keep 10 bytes, or 1.3 s and 1 byte, under 1F1B with 32 micro-batches."""
    fixed = np.zeros(stages)
    fixed[-1] = head_s
    return stage_problem(
        np.zeros(48, np.int64),
        np.array([[1.0, 1.3]]),
        np.array([[10.0, 1.0]]),
        np.full(stages, capacity),
        32,
        fixed_s=fixed,
    )


def test_equal_layers_and_room_for_all_are_dealt_out_evenly() -> None:
    """(m + p - 1) w with w = 6 s."""
    plan = best_stages(many_layers(math.inf))
    assert plan is not None
    assert plan.layers_per_stage == (6,) * 8
    assert plan.step_s == pytest.approx((32 + 7) * 6.0)


def test_a_heavy_head_takes_layers_away_from_the_last_stage() -> None:
    plan = best_stages(many_layers(math.inf, head_s=4.0))
    assert plan is not None
    assert (
        plan.layers_per_stage[-1] == 3
    )  # 7 s with the head; 7 layers are the most that any other stage needs
    assert max(plan.layers_per_stage[:-1]) == 7
    assert plan.step_s == pytest.approx(31 * 7.0 + 52.0)


def test_only_ranks_with_many_micro_batches_in_flight_recompute() -> None:
    """6 layers keep 60 bytes per micro-batch, 8 - s of them on stage s: 480 on the first, 60 on the last."""
    problem = many_layers(250.0)
    plan = best_stages(problem)
    assert plan is not None
    again = [int(part.sum()) for part in np.split(plan.modes, plan.cuts[1:-1])]
    assert sum(again[:4]) > 0
    assert again[4:] == [0, 0, 0, 0]  # at most 4 micro-batches in flight: 240 bytes


def test_nothing_fits() -> None:
    assert best_stages(many_layers(10.0)) is None
    assert best_stages(many_layers(math.inf, stages=49)) is None  # more stages than layers


def test_a_slower_class_of_devices_gets_fewer_layers() -> None:
    problem = stage_problem(
        np.zeros(12, np.int64),
        np.array([[[1.0]], [[2.0]]]),
        np.zeros((2, 1, 1)),
        np.full(2, math.inf),
        100,
        stage_class=np.array([0, 1]),
    )
    plan = best_stages(problem)
    assert plan is not None
    assert plan.layers_per_stage == (8, 4)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), more=st.floats(1.0, 3.0), factor=st.floats(0.2, 1.0))
def test_more_memory_and_faster_layers_never_hurt(seed: int, more: float, factor: float) -> None:
    problem = random_stages(seed)
    plan = best_stages(problem)
    if plan is None:
        return
    for easier in (
        replace(problem, capacity_bytes=problem.capacity_bytes * more),
        replace(problem, seconds=problem.seconds * factor),
        replace(problem, kept_bytes=problem.kept_bytes * factor),
    ):
        better = best_stages(easier)
        assert better is not None
        assert better.step_s <= plan.step_s * (1 + 1e-9)


def test_shapes_are_checked() -> None:
    good = {"layers": np.zeros(3, np.int64), "seconds": np.ones((1, 2)), "kept_bytes": np.ones((1, 2))}
    with pytest.raises(ValueError, match="one shape"):
        stage_problem(**(good | {"kept_bytes": np.ones((1, 3))}), capacity_bytes=np.ones(2), micro_batches=1)
    with pytest.raises(ValueError, match="numbers of types"):
        stage_problem(**(good | {"layers": np.ones(3, np.int64)}), capacity_bytes=np.ones(2), micro_batches=1)
    with pytest.raises(ValueError, match="at least 0"):
        stage_problem(**(good | {"seconds": -np.ones((1, 2))}), capacity_bytes=np.ones(2), micro_batches=1)
