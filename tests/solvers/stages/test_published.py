"""Divisions of DeepSeek-V3 into stages that engineers published, beside the programme's own.

Megatron-Core's ``--pipeline-model-parallel-layout`` on 8 pipeline ranks of 4 chunks, all with one MTP layer (E embedding,
t a layer, m MTP, L loss): NVIDIA-NeMo/Megatron-Bridge, perf_recipes/deepseek, 1,024 H100 (``Et*3|(tt|)*29m|L`` and
``Et|(tt|)*30mL``); yanring/Megatron-MoE-ModelZoo, best_practice/DeepSeekV3/run.sh, 256 H100 (``Et*2|(tt|)*22t|(tt|)*7mL``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Recompute
from planner.solvers.stages import CoupledProblem, best_coupled_stages, coupled_cost
from planner.solvers.stages.pricing import priced_layout, stage_tables

DENSE_FIRST = [3, *[2] * 29, 1, 0]
EVEN = [1, *[2] * 30, 1]
ONE_IN_BETWEEN = [*[2] * 23, 1, *[2] * 7, 1]


@pytest.fixture(scope="module")
def problem() -> CoupledProblem:
    """TP = 2, EP = 64, 8,192 sequences of 4,096 tokens in fp8 with DeepEP, on devices that hold everything."""
    training = {
        "global_batch": 8192,
        "seq_len": 4096,
        "precision": "fp8",
        "framework": "megatron-core",
        "moe": {"dispatcher": "deepep"},
    }
    job = load_job(
        {"model": "deepseek-v3-mtp", "cluster": "h100-superpod", "devices": 1024, "training": training}
    )
    knobs = "tp=2,pp=8,vpp=4,ep=64,zero_stage=1,layers_per_stage=" + "+".join(map(str, EVEN))
    priced = priced_layout(job, replace(parse_layout(knobs, job), recompute=Recompute("full")))
    tables = stage_tables(priced, [0, *np.cumsum(EVEN).tolist()], [0] * 8)
    return replace(tables, stages=replace(tables.stages, capacity_bytes=np.full(32, np.inf)))


def step_s(problem: CoupledProblem, shares: list[int]) -> float:
    return coupled_cost(problem, np.cumsum([0, *shares]), np.zeros(62, np.int64)).plan.step_s


def test_the_hand_made_division_is_the_best(problem: CoupledProblem) -> None:
    """A longer search (20 s) proves that nothing is faster by more than 0.04 %."""
    found = best_coupled_stages(problem, time_limit_s=2.0)
    assert step_s(problem, DENSE_FIRST) == pytest.approx(found.step_s, rel=1e-3)
    assert found.step_s <= step_s(problem, DENSE_FIRST) * (1 + 1e-12)


def test_how_the_published_ones_compare(problem: CoupledProblem) -> None:
    """Three dense layers weigh less than one of experts, so the first stage can take them all."""
    best = step_s(problem, DENSE_FIRST)
    assert step_s(problem, ONE_IN_BETWEEN) == pytest.approx(best, rel=1e-3)
    assert 1.002 < step_s(problem, EVEN) / best < 1.02


def test_what_a_heavier_loss_costs(problem: CoupledProblem) -> None:
    """Ranks hold eight layers. The loss alone on its stage leaves its rank room for two more; beside the MTP layer, whose own
    loss weighs like it, that rank is full. So a loss heavier by one layer makes nine of eight there, a little more as ranks
    that work on other chunks wait for it, and nothing elsewhere."""
    stages = problem.stages
    experts_s = stages.seconds[0, stages.layers[3], 0]
    heavier = stages.fixed_s + np.where(np.arange(32) == 31, experts_s, 0.0)
    heavy = replace(problem, stages=replace(stages, fixed_s=heavier))
    assert step_s(heavy, DENSE_FIRST) / step_s(problem, DENSE_FIRST) < 1.002
    assert 9 / 8 <= step_s(heavy, EVEN) / step_s(heavy, DENSE_FIRST) < 9 / 8 + 0.03
