"""Stage programmes at the sizes of large jobs: CPU seconds of the dynamic one, gap of the integer one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from planner.solvers.linear import BACK_ENDS, BackEnd
from planner.solvers.stages import (
    CoupledProblem,
    StageProblem,
    best_coupled_stages,
    best_stages,
    coupled_problem,
    stage_problem,
)

LIMIT_S = 0.2


def tight(layers: int, stages: int) -> StageProblem:
    """Layers with four modes (keep, drop a part, recompute, move away) and memory for about half of what they keep."""
    draw = np.random.default_rng(layers)
    seconds = np.array([[1.0, 1.03, 1.33, 1.1]]) * draw.uniform(0.97, 1.03, (3, 4)) * [[1.0], [0.2], [0.8]]
    kept = np.array([[34.0, 10.0, 2.0, 20.0]]) * draw.uniform(0.9, 1.1, (3, 4))
    kinds = np.zeros(layers, np.int64)
    kinds[0], kinds[-1] = 1, 2  # embedding and head
    room = layers / stages * (40.0 + 34.0 * stages * 0.35)
    return stage_problem(
        kinds, seconds, kept, np.full(stages, room), 4 * stages, static_bytes=np.full((1, 3), 40.0)
    )


@pytest.mark.parametrize(("layers", "stages"), [(96, 16), (128, 32), (126, 64)])
def test_dynamic_programme(benchmark: Any, layers: int, stages: int) -> None:
    """96 layers on 16 stages in 4 modes within 0.2 s."""
    problem = tight(layers, stages)
    begin = time.process_time()
    plan = best_stages(problem)
    spent = time.process_time() - begin
    assert plan is not None
    benchmark.extra_info["note"] = f"{spent:.3f} s of CPU, layers per mode {np.bincount(plan.modes).tolist()}"
    if stages == 16:
        assert spent < LIMIT_S
    benchmark.pedantic(best_stages, (problem,), rounds=3)


def shared(ranks: int = 8, chunks: int = 2) -> CoupledProblem:
    """61 layers of two types on ranks with several chunks, which share their rank's memory."""
    kinds = np.r_[np.zeros(3, np.int64), np.ones(58, np.int64)]
    order, stages = np.arange(ranks), ranks * chunks
    flight = np.tile((2.0 * (ranks - 1 - order) + (chunks - 1) * ranks + 1) / chunks, chunks)
    part = stage_problem(
        kinds,
        np.array([[5.0, 5.2, 6.6], [9.0, 9.4, 12.0]]) * 1e-3,
        np.array([[3.0, 1.0, 0.3], [4.0, 1.5, 0.3]]) * 1e9,
        np.full(stages, 61 / ranks * (2e9 + 1.8e9 * flight.mean())),
        64,
        static_bytes=np.array([[1.5e9, 2e9]]),
        in_flight=flight,
        fixed_s=np.r_[1e-3, np.zeros(stages - 2), 4e-3],
    )
    return coupled_problem(part, np.arange(stages) % ranks)


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_integer_programme(benchmark: Any, back_end: BackEnd) -> None:
    """What five seconds make of the plan that the search begins with."""
    problem = shared()
    found = benchmark.pedantic(best_coupled_stages, (problem, back_end), {"time_limit_s": 5.0}, rounds=1)
    assert found.seed_s is not None
    benchmark.extra_info["note"] = (
        f"{found.solution.status}, step {found.step_s:.3f} s from {found.seed_s:.3f} s, gap {found.gap:.1%}"
    )
    assert found.step_s <= found.seed_s
