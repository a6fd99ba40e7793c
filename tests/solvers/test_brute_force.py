"""The search against a listing of all layouts that shares nothing with the search space."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.jobs.types import Job
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import check, legal_mask
from planner.layouts.space.space import search_space
from planner.solvers.search import search
from planner.solvers.sweep import Sweep, SweepOptions, sweep_space
from tests.solvers.brute_force import price_all
from tests.solvers.lister import listed

TINY = {"preset": "llama3-8b", "layers": 4}
TINY_MOE = {"preset": "mixtral-8x7b", "layers": 4}


def jobs(make_job: Any) -> dict[str, Job]:
    big_batch = {"per_node": 4, "seq_len": 4096}
    return {
        "dense": make_job(TINY, 8, 16, **big_batch),
        "experts": make_job(
            TINY_MOE, 8, 16, framework="megatron-core", limit={"micro_batch": 4}, **big_batch
        ),
        "context": make_job(TINY, 8, 8, seq_len=65536, limit={"tp": 2, "pp": 2, "micro_batch": 4}),
        "offload": make_job({"preset": "llama3-8b", "layers": 24}, 4, 8, framework="fsdp", per_node=2),
        "not a power of two": make_job(
            {"preset": "gpt3-125m", "layers": 12}, 12, 36, per_node=6, fix={"cp": 1}
        ),
        "idle devices": make_job(TINY, 6, 12, per_node=3, allow={"idle_devices": True}, fix={"cp": 1}),
    }


NAMES = ("dense", "experts", "context", "offload", "not a power of two", "idle devices")


def swept(job: Job, objective: Any = "step_time", **options: Any) -> Sweep:
    return sweep_space(job, search_space(job), SweepOptions(**options), objective)


@pytest.mark.parametrize("name", NAMES)
def test_search_equals_brute_force(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    rows = listed(job)
    assert len(set(rows)) == len(rows)
    space = search_space(job)
    made = [layouts.row(i) for _, layouts, _ in space.blocks() for i in range(len(layouts))]
    assert len(made) == len(set(made)) == space.size
    assert set(made) == set(rows)

    every = price_all(job, rows).fitting(job)
    fastest = swept(job, top=10)
    assert fastest.ranking.points.time_s.tolist() == sorted(every.time_s)[:10]
    leanest = swept(job, "memory", top=10)
    assert leanest.ranking.points.memory_bytes.tolist() == sorted(every.memory_bytes)[:10]
    assert fastest.pruned["memory"] + fastest.pruned["bound"] + fastest.evaluated == len(rows)
    assert _points(fastest) == every.pareto("step_time", "memory", "devices")


def _points(sweep: Sweep) -> set[tuple[float, float, int]]:
    points = sweep.frontier.points
    return set(
        zip(points.time_s.tolist(), points.memory_bytes.tolist(), points.devices.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("name", "objective"),
    [("dense", "step_time"), ("offload", "step_time"), ("context", "memory"), ("idle devices", "cost")],
)
def test_pruning_changes_no_result(make_job: Any, name: str, objective: str) -> None:
    job = jobs(make_job)[name]
    pruned, full = swept(job, objective), swept(job, objective, prune=False)
    ranked = [
        [sweep.ranking.points.layouts.row(i) for i in range(len(sweep.ranking.points))]
        for sweep in (pruned, full)
    ]
    assert ranked[0] == ranked[1]
    assert _points(pruned) == _points(full)
    assert full.evaluated >= pruned.evaluated
    # what both bounds rule out together counts as bound, whether it fits or not
    assert full.pruned["memory"] >= pruned.pruned["memory"]
    assert sum(pruned.pruned.values()) + pruned.evaluated == full.pruned["memory"] + full.evaluated


def test_block_size_changes_no_result(make_job: Any) -> None:
    job = jobs(make_job)["context"]
    small, large = swept(job, block_rows=97), swept(job)
    assert [small.ranking.points.layouts.row(i) for i in range(10)] == [
        large.ranking.points.layouts.row(i) for i in range(10)
    ]
    assert _points(small) == _points(large)


@pytest.mark.parametrize("name", NAMES)
def test_written_out_legality_is_the_rules(make_job: Any, name: str) -> None:
    rows = listed(jobs(make_job)[name])
    assert legal_mask(from_layouts(rows), jobs(make_job)[name]).all()


def test_every_layout_of_the_space_passes_check(make_job: Any) -> None:
    """The explained rules and the space agree, one layout at a time."""
    job = make_job(TINY, 4, 4, fix={"recompute": "none"}, limit={"micro_batch": 2})
    rows = listed(replace(job, search=replace(job.search, fix={})))
    for row in rows:
        assert not check(job, row)


def test_certificate_and_json(make_job: Any) -> None:
    job = jobs(make_job)["dense"]
    result = search(job, top=3)
    assert result.certificate["proved"] is True
    assert result.certificate["gap"] == 0.0
    assert result.certificate["best_s"] == result.certificate["lower_bound_s"] == result.plans[0].step_time_s
    space = result.to_json()["space"]
    assert space["candidates"] == space["evaluated"] + sum(space["pruned"].values())
    assert [plan.rank for plan in result.plans] == [1, 2, 3]
