"""What must hold of any exact search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.costs.evaluate import memory_totals, step_times
from planner.costs.prices import price_model
from planner.hardware.types import Accelerator, Cluster
from planner.jobs.types import Job, MoeOptions
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.space.space import search_space
from planner.solvers.bounds import time_lower_bound
from planner.solvers.frontier import Frontier, Points
from planner.solvers.memory_bound import memory_lower_bound
from planner.solvers.sweep import SweepOptions, sweep_space

TINY = {"preset": "llama3-8b", "layers": 4}
RELAXED = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def best(job: Job, objective: Any = "step_time") -> float:
    return sweep_space(job, search_space(job), SweepOptions(top=1, pareto=False), objective).ranking.best


def with_cluster(job: Job, **changes: Any) -> Job:
    cluster: Cluster = replace(job.cluster, **changes)
    return replace(job, cluster=cluster)


def with_accelerator(job: Job, **changes: Any) -> Job:
    accelerator: Accelerator = replace(job.cluster.accelerator, **changes)
    return with_cluster(job, accelerator=accelerator)


@pytest.fixture(scope="module")
def usual(make_job: Any) -> Job:
    """The job whose hardware is made better."""
    job: Job = make_job(TINY, 8, 16, per_node=4, limit={"micro_batch": 2})
    return job


@pytest.fixture(scope="module")
def usual_best(usual: Job) -> float:
    return best(usual)


@RELAXED
@given(level=st.integers(0, 1), factor=st.floats(1.0, 16.0))
def test_more_bandwidth_is_never_worse(usual: Job, usual_best: float, level: int, factor: float) -> None:
    levels = list(usual.cluster.network)
    levels[level] = replace(levels[level], bandwidth=levels[level].bandwidth * factor)
    faster = with_cluster(usual, network=tuple(levels))
    assert best(faster) <= usual_best * (1 + 1e-12)


def test_more_memory_is_never_worse(usual: Job) -> None:
    least = best(with_accelerator(usual, memory_bytes=12e9))

    @RELAXED
    @given(factor=st.floats(1.0, 8.0))
    def never_worse(factor: float) -> None:
        assert best(with_accelerator(usual, memory_bytes=12e9 * factor)) <= least

    never_worse()


@RELAXED
@given(factor=st.floats(1.0, 8.0))
def test_more_flops_are_never_worse(usual: Job, usual_best: float, factor: float) -> None:
    peak = {name: value * factor for name, value in usual.cluster.accelerator.peak_flops.items()}
    assert best(with_accelerator(usual, peak_flops=peak)) <= usual_best * (1 + 1e-12)


@RELAXED
@given(factor=st.floats(1.0, 8.0))
def test_faster_memory_is_never_worse(usual: Job, usual_best: float, factor: float) -> None:
    bandwidth = usual.cluster.accelerator.memory_bandwidth * factor
    assert best(with_accelerator(usual, memory_bandwidth=bandwidth)) <= usual_best * (1 + 1e-12)


@pytest.mark.parametrize(
    ("model", "framework", "seq_len"),
    [
        (TINY, "ideal", 2048),
        (TINY, "megatron-core", 65536),
        (TINY, "torchtitan", 4096),
        (TINY, "deepspeed", 2048),
        ({"preset": "mixtral-8x7b", "layers": 4}, "megatron-core", 4096),
        ({"preset": "deepseek-v2-lite", "layers": 8}, "ideal", 4096),
        ("t5-base", "megatron-lm", 512),
    ],
)
def test_no_layout_beats_its_lower_bound(make_job: Any, model: Any, framework: str, seq_len: int) -> None:
    job = make_job(model, 16, 32, framework=framework, seq_len=seq_len, per_node=4, limit={"micro_batch": 4})
    space, _ = search_space(job).opened()
    prices = price_model(job, space.outer)
    bound = time_lower_bound(job, space.outer, prices)
    assert (bound > 0).all()
    for _, layouts, owner in space.blocks():
        assert (step_times(job, layouts, prices) >= bound[owner]).all()


@pytest.mark.parametrize("framework", ["megatron-core", "fsdp", "torchtitan", "deepspeed", "ideal"])
@pytest.mark.parametrize("model", [TINY, "mixtral-8x7b"])
def test_no_layout_needs_less_than_its_memory_bound(make_job: Any, model: Any, framework: str) -> None:
    job = make_job(model, 16, 32, per_node=8, framework=framework, limit={"micro_batch": 2, "cp": 2})
    space, _ = search_space(job).opened()
    prices = price_model(job, space.outer)
    bound = memory_lower_bound(job, space, prices)
    assert (bound > 0).all()
    for _, layouts, owner in space.blocks():
        assert (memory_totals(job, layouts, prices).device_used_bytes >= bound[owner]).all()


@pytest.mark.parametrize(
    ("model", "framework", "training"),
    [
        ("mixtral-8x7b", "ideal", {}),
        ("mixtral-8x7b", "megatron-core", {"moe": MoeOptions(dispatcher="allgather")}),
        ("gpt-oss-20b", "megatron-core", {"capture": False}),
        ("deepseek-v2-lite", "torchtitan", {"compile": True}),
        ({"preset": "deepseek-v3", "layers": 8}, "mindspeed", {"launch_blocking": True}),
    ],
)
def test_bounds_over_all_meshes_of_experts_hold_for_each(
    make_job: Any, model: Any, framework: str, training: dict[str, Any]
) -> None:
    job = make_job(
        model, 32, 32, framework=framework, per_node=8, training=training, limit={"micro_batch": 2, "cp": 4}
    )
    closed = search_space(job)
    assert closed.closed
    least = price_model(job, closed.outer, least=True)
    opened, owner = closed.opened()
    exact = price_model(job, opened.outer)
    assert np.bincount(owner, weights=opened.candidates).tolist() == closed.candidates.tolist()
    time = time_lower_bound(job, opened.outer, exact)
    assert (time_lower_bound(job, closed.outer, least)[owner] <= time).all()
    memory = memory_lower_bound(job, opened, exact) * (1.0 + 1e-8)
    assert (memory_lower_bound(job, opened, least) <= memory).all()
    assert (memory_lower_bound(job, closed, least)[owner] <= memory).all()


triples = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=40
)


@given(points=triples, size=st.integers(1, 7))
def test_frontier_equals_comparison_of_all_pairs(points: list[tuple[int, int, int]], size: int) -> None:
    frontier = Frontier(_points([]))
    for begin in range(0, len(points), size):
        frontier = frontier.add(_points(points[begin : begin + size]))
    kept = frontier.points
    found = list(zip(kept.time_s, kept.memory_bytes, kept.devices, strict=True))
    expected = {
        p
        for p in points
        if not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)
    }
    assert len(found) == len(set(found))
    assert set(found) == expected


def _points(triples: list[tuple[int, int, int]]) -> Points:
    table = np.array(triples, dtype=np.float64).reshape(-1, 3)
    layouts = from_layouts([Layout(tp=1 + i) for i in range(len(triples))] or [Layout()])
    return Points(
        layouts.take(slice(0, len(triples))), table[:, 0], table[:, 1], table[:, 2].astype(np.int64)
    )
