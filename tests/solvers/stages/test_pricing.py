"""Stage problems of layouts say what the cost model says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Recompute
from planner.solvers.stages import coupled_cost
from planner.solvers.stages.pricing import PricedLayout, priced_layout, stage_tables

MakeJob = Callable[..., Job]

DENSE = "pp=4,tp=2"


def full(job: Job, knobs: str) -> PricedLayout:
    return priced_layout(job, replace(parse_layout(knobs, job), recompute=Recompute("full")))


def modes_of(priced: PricedLayout, cuts: list[int], recomputed: list[int]) -> np.ndarray:
    """The first layers of each rank are recomputed."""
    left = list(recomputed)
    modes = np.zeros(len(priced.types), np.int64)
    for stage, rank in enumerate(priced.rank_of.tolist()):
        again = min(left[rank], cuts[stage + 1] - cuts[stage])
        modes[cuts[stage] : cuts[stage] + again] = 1
        left[rank] -= again
    return modes


@pytest.mark.parametrize(
    ("model", "knobs", "cuts"),
    [
        ("llama3-8b", DENSE, [0, 8, 16, 24, 32]),
        ("llama3-8b", DENSE, [0, 9, 18, 26, 32]),
        ("llama3-8b", DENSE + ",schedule=gpipe,micro_batch=4", [0, 8, 16, 24, 32]),
        ("llama3-8b", "pp=2,vpp=2", [0, 9, 17, 26, 32]),
        ("llama3-8b", "pp=2,vpp=2,schedule=zb_v,tp=2", [0, 8, 16, 24, 32]),
        ("deepseek-v2-lite", "pp=4,ep=2", [0, 6, 13, 20, 27]),
        ("deepseek-v3-mtp", "pp=4,ep=2", [0, 16, 31, 47, 62]),
    ],
)
@pytest.mark.parametrize("recomputed", [0, 3])
def test_seconds_and_bytes_are_the_models_own(
    make_job: MakeJob, model: str, knobs: str, cuts: list[int], recomputed: int
) -> None:
    job = make_job(model)
    priced = full(job, knobs)
    counts = [recomputed] * priced.layout.pp
    problem = stage_tables(priced, cuts, counts)
    cost = coupled_cost(problem, np.array(cuts), modes_of(priced, cuts, counts))
    layout = replace(
        priced.layout,
        layers_per_stage=tuple(np.diff(cuts).tolist()),
        recompute=Recompute("full" if recomputed else "none"),
        recompute_layers=recomputed or None,
    )
    told = predict(job, layout)
    used = [rank.memory.device_used_bytes for rank in told.ranks]
    assert cost.rank_bytes.tolist() == pytest.approx(used, rel=1e-9)
    own = np.bincount(problem.rank, cost.plan.seconds)
    hops = min(rank.time.exposed["pp"] for rank in told.ranks)  # more where a tied table is summed
    busy = [rank.time.total_s - rank.time.bubble_s - hops for rank in told.ranks]
    once = np.bincount(problem.rank, cost.plan.once_s)
    assert (layout.micro_batches * own + once).tolist() == pytest.approx(busy, rel=1e-9)


def test_away_from_the_cut_they_are_near(make_job: MakeJob) -> None:
    priced = full(make_job("llama3-8b"), DENSE)
    problem = stage_tables(priced, [0, 8, 16, 24, 32], [8, 8, 8, 8])
    cuts, counts = [0, 10, 19, 27, 32], [4, 2, 1, 0]
    cost = coupled_cost(problem, np.array(cuts), modes_of(priced, cuts, counts))
    ranks = priced.ranks(cuts, counts)
    assert cost.rank_bytes.tolist() == pytest.approx(priced.used_bytes(ranks).tolist(), rel=0.02)
    assert cost.plan.seconds.tolist() == pytest.approx(priced.seconds(ranks)[0].tolist(), rel=0.02)


def test_v_placement_puts_both_ends_on_rank_0(make_job: MakeJob) -> None:
    priced = full(make_job("llama3-8b"), "pp=2,vpp=2,schedule=zb_v,tp=2")
    assert priced.rank_of.tolist() == [0, 1, 1, 0]
    problem = stage_tables(priced, [0, 8, 16, 24, 32], [0, 0])
    assert problem.chunk.tolist() == [0, 0, 1, 1]
    beside: Any = problem.stages.fixed_s
    assert beside[3] > beside[0] > 0.0  # the head weighs more than the embedding
    assert beside[1] == pytest.approx(0.0, abs=1e-9)
