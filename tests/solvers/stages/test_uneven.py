"""Layouts with uneven stages: legal, faster, and recomputing no more than they must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Recompute
from planner.layouts.legality import check
from planner.simulator.options import SimulationOptions
from planner.simulator.simulation import simulate
from planner.solvers.search import search
from planner.solvers.stages.pricing import priced_layout
from planner.solvers.stages.study import pipelines_only, staged_search
from planner.solvers.stages.uneven import (
    StageOptions,
    fewest_recomputed,
    uneven_stages,
    write_stage_programme,
)

MakeJob = Callable[..., Job]

QUICK = StageOptions(time_limit_s=2.0)


def on(job: Job, memory_bytes: float) -> Job:
    """The job on devices of another memory."""
    accelerator = replace(job.cluster.accelerator, memory_bytes=memory_bytes)
    return replace(job, cluster=replace(job.cluster, accelerator=accelerator))


@pytest.mark.parametrize(
    "knobs", ["pp=4,tp=2", "pp=8", "pp=4,tp=2,schedule=gpipe", "pp=4,tp=2,schedule=zb_h1", "pp=2,tp=2,vpp=2"]
)
def test_a_heavy_head_moves_layers_to_the_front(make_job: MakeJob, knobs: str) -> None:
    """Llama 3's head with its 128,256 tokens costs as much as some layers."""
    job = make_job("llama3-8b")
    layout = parse_layout(knobs + ",recompute=full", job)
    found = uneven_stages(job, layout, QUICK)
    assert found.reason is None
    assert found.before_s == predict(job, layout).step_time_s
    best, seconds = found.found[0]
    assert check(job, best) == []
    told = predict(job, best)
    assert told.step_time_s == seconds < found.before_s
    assert told.memory.fits
    assert told.ranks[-1].layers < told.ranks[0].layers
    assert [step for _, step in found.found] == sorted(step for _, step in found.found)


def test_only_full_ranks_recompute(make_job: MakeJob) -> None:
    """1F1B's first rank holds four micro-batches, its last one only one."""
    job = on(make_job("llama3-8b", seq_len=8192), 28e9)
    layout = parse_layout("pp=4,tp=2,recompute=full", job)
    found = uneven_stages(job, layout, QUICK)
    best, seconds = found.found[0]
    assert isinstance(best.recompute_layers, tuple)
    assert best.recompute_layers[0] > best.recompute_layers[-1] == 0
    assert seconds < 0.95 * found.before_s
    assert predict(job, best).memory.fits


def test_the_fewest_recomputed_layers(make_job: MakeJob) -> None:
    job = on(make_job("llama3-8b", seq_len=8192), 28e9)
    layout = replace(parse_layout("pp=4,tp=2", job), recompute=Recompute("full"))
    priced = priced_layout(job, layout)
    cuts = [0, 9, 17, 25, 32]
    counts = fewest_recomputed(priced, cuts)
    assert counts is not None
    assert any(counts)
    shares = tuple(np.diff(cuts).tolist())

    def fits(tried: list[int]) -> list[bool]:
        row = replace(layout, layers_per_stage=shares, recompute_layers=tuple(tried))
        return [rank.memory.fits for rank in predict(job, row).ranks]

    assert all(fits(counts))
    for rank, count in enumerate(counts):
        if count:
            fewer = [other - (place == rank) for place, other in enumerate(counts)]
            if any(fewer):
                assert not fits(fewer)[rank]
    assert fewest_recomputed(priced_layout(on(job, 12e9), layout), cuts) is None


def test_a_list_of_equal_numbers_is_the_number(make_job: MakeJob) -> None:
    job = make_job("llama3-8b")
    one, listed = (
        parse_layout(f"pp=4,tp=2,recompute=full,recompute_layers={text}", job) for text in ("3", "3+3+3+3")
    )
    assert predict(job, listed).step_time_s == predict(job, one).step_time_s
    steps = [simulate(job, layout, SimulationOptions()).step_time_s for layout in (one, listed)]
    assert steps[0] == steps[1]
    later = replace(one, recompute_layers=(0, 0, 0, 3))
    assert [rank.time.of_which["recompute_s"] > 0 for rank in predict(job, later).ranks] == [False] * 3 + [
        True
    ]
    assert simulate(job, later, SimulationOptions()).step_time_s < steps[0]


@pytest.mark.parametrize("knobs", ["pp=2,tp=2,vpp=2,recompute=full", "pp=4,tp=2"])
def test_a_layout_that_cannot_be_cut_says_why(make_job: MakeJob, knobs: str) -> None:
    job = on(make_job("llama3-8b", seq_len=8192), 15e9)
    layout = parse_layout(knobs, job)
    found = uneven_stages(job, layout, QUICK)
    assert found.found == ()
    assert found.reason is not None
    assert "memory (device memory of each rank)" in found.reason


def test_a_search_never_returns_a_slower_plan_than_it_found(make_job: MakeJob) -> None:
    job = make_job("llama3-8b", fix={"tp": 2, "cp": 1, "vpp": 1}, allow={"schedule": ["1f1b", "zb_h1"]})
    found = staged_search(job, 3, QUICK)
    assert len(found.plans) == 3
    assert [plan.after.rank for plan in found.plans] == [1, 2, 3]
    steps = [plan.step_s for plan in found.plans]
    assert steps == sorted(steps)
    for plan in found.plans:
        assert plan.before.layout["pp"] > 1
        assert plan.step_s <= plan.before.step_time_s
        assert plan.after.memory.fits
        assert plan.gain is not None
        if plan.gain > 0:
            assert plan.simulated_gain is not None
            assert plan.simulated_gain > 0
        else:
            assert plan.after.layout == plan.before.layout
    assert any(plan.gain for plan in found.plans)
    bare = [
        {k: v for k, v in plan.before.layout.items() if not k.startswith("recompute")} for plan in found.plans
    ]
    assert all(bare.count(one) == 1 for one in bare)


def test_uneven_stages_may_fit_where_no_uniform_layout_does(make_job: MakeJob) -> None:
    fixed = {
        "tp": 2,
        "cp": 1,
        "pp": 4,
        "vpp": 1,
        "schedule": "1f1b",
        "offload": "none",
        "zero_stage": 0,
        "sp": False,
    }
    job = make_job("llama3-8b", seq_len=8192, fix=fixed)
    with pytest.raises(NoAnswerError, match="none of"):
        search(on(job, 22e9))
    found = staged_search(on(job, 22e9), 2, QUICK)
    assert found.roomier > 1.0
    for plan in found.plans:
        assert plan.after.memory.fits
        assert not plan.before.memory.fits
        assert plan.gain is None
        assert plan.after.memory.capacity_bytes == 22e9
    with pytest.raises(NoAnswerError, match="none of"):
        staged_search(on(job, 12e9), 2, QUICK)


def test_jobs_without_a_pipeline_are_refused(make_job: MakeJob) -> None:
    with pytest.raises(NoAnswerError, match="fixes pp to 1"):
        pipelines_only(make_job("llama3-8b", fix={"pp": 1}))
    with pytest.raises(NoAnswerError, match="pp = 1 only"):
        pipelines_only(make_job("llama3-8b", allow={"pp": [1]}))
    assert pipelines_only(make_job("llama3-8b", allow={"pp": [1, 2]})).search.allow["pp"] == [2]
    with pytest.raises(PlannerError, match="step_time, cost"):
        staged_search(make_job("llama3-8b", objective="memory"), 1)


def test_the_programme_of_a_layout_is_written(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("llama3-8b")
    file = tmp_path / "stages.lp"
    write_stage_programme(job, parse_layout("pp=2,vpp=2,tp=2", job), str(file))
    text = file.read_text()
    for name in ("n_0_0_1", "memory_1", "chunk_0", "longest", "count_0"):
        assert name in text
