"""What must hold for every job and layout: better hardware is never slower, more sharding is never more bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from planner.costs.evaluate import evaluate
from planner.costs.prices import price_model
from planner.costs.states import shard_groups, state_bytes
from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES, Recompute
from planner.layouts.layouts import Layouts
from tests.costs.samples import DENSE, MOE, random_layouts

ROWS = 100
ZERO_BUBBLE = SCHEDULES.index("zb_h1")
EXAMPLES = settings(
    max_examples=5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Jobs = st.tuples(
    st.sampled_from([DENSE, MOE]),
    st.sampled_from(["ideal", "megatron-core", "torchtitan"]),
    st.sampled_from([(16, 32, 4), (64, 128, 8), (48, 96, 8)]),
    st.integers(0, 10_000),
)
Factors = st.floats(1.001, 1000.0)


def drawn(make_job: Any, choice: tuple[Any, ...]) -> tuple[Job, Layouts]:
    model, framework, (devices, batch, per_node), seed = choice
    job: Job = make_job(
        model, devices=devices, global_batch=batch, seq_len=1024, framework=framework, per_node=per_node
    )
    return job, random_layouts(job, ROWS, seed, draws=20_000)


def network(job: Job, level: int | None, **factors: float) -> Job:
    """The job with figures of one network level (or all) multiplied."""
    levels = [
        replace(part, **{name: getattr(part, name) * factor for name, factor in factors.items()})
        if level in (None, index)
        else part
        for index, part in enumerate(job.cluster.network)
    ]
    return replace(job, cluster=replace(job.cluster, network=tuple(levels)))


def device(job: Job, **values: Any) -> Job:
    accelerator = replace(job.cluster.accelerator, **values)
    return replace(job, cluster=replace(job.cluster, accelerator=accelerator))


def faster_matmuls(job: Job, factor: float) -> Job:
    return device(job, peak_flops={k: v * factor for k, v in job.cluster.accelerator.peak_flops.items()})


def faster_memory(job: Job, factor: float) -> Job:
    return device(job, memory_bandwidth=job.cluster.accelerator.memory_bandwidth * factor)


UPGRADES: dict[str, Callable[[Job, float], Job]] = {
    "bandwidth": lambda job, factor: network(job, None, bandwidth=factor),
    "inner bandwidth": lambda job, factor: network(job, 0, bandwidth=factor),
    "outer bandwidth": lambda job, factor: network(job, 1, bandwidth=factor),
    "latency": lambda job, factor: network(job, None, latency_s=1 / factor),
    "memory bandwidth": faster_memory,
    "FLOP/s": faster_matmuls,
}


@pytest.mark.parametrize("name", UPGRADES)
@EXAMPLES
@given(choice=Jobs, factor=Factors)
@example(choice=(DENSE, "torchtitan", (16, 32, 4), 2195), factor=2.0)
@example(choice=(DENSE, "ideal", (16, 32, 4), 0), factor=2.0)
def test_better_hardware_is_never_slower(
    make_job: Any, name: str, choice: tuple[Any, ...], factor: float
) -> None:
    job, rows = drawn(make_job, choice)
    if name in ("FLOP/s", "memory bandwidth"):
        # Where offload or data-parallel traffic sets the pace, a step is no shorter for faster weight gradients, and ZB-H1 has
        # less to fill its bubble with (docs/schedules.md).
        rows = rows.take(np.flatnonzero(rows.columns["schedule"] != ZERO_BUBBLE))
    before, after = evaluate(job, rows), evaluate(UPGRADES[name](job, factor), rows)
    assert (after.step_time_s <= before.step_time_s * (1 + 1e-9)).all()
    assert (after.memory.peak_bytes == before.memory.peak_bytes).all()


@EXAMPLES
@given(choice=Jobs, factor=Factors)
def test_more_memory_never_makes_a_layout_unfit(
    make_job: Any, choice: tuple[Any, ...], factor: float
) -> None:
    job, rows = drawn(make_job, choice)
    small = device(job, memory_bytes=3e9)
    large = device(job, memory_bytes=3e9 * factor)
    before, after = evaluate(small, rows), evaluate(large, rows)
    assert (after.memory.fits | ~before.memory.fits).all()
    assert (after.step_time_s == before.step_time_s).all()


@EXAMPLES
@given(choice=Jobs, more=st.integers(2, 9))
def test_more_micro_batches_take_longer(make_job: Any, choice: tuple[Any, ...], more: int) -> None:
    job, rows = drawn(make_job, choice)
    columns = rows.columns | {"micro_batches": rows.columns["micro_batches"] * more}
    longer = replace(rows, columns=columns)
    before, after = evaluate(job, rows).step_time_s, evaluate(job, longer).step_time_s
    assert (after > before).all()
    # ... but never by more than the factor: what happens once per step does not recur.
    assert (after <= more * before * (1 + 1e-9)).all()


@EXAMPLES
@given(choice=Jobs)
def test_recompute_saves_activations_and_costs_flops(make_job: Any, choice: tuple[Any, ...]) -> None:
    job, rows = drawn(make_job, choice)
    policies = (Recompute(), Recompute("selective", ("core_attention",)), Recompute("full"))
    prices = price_model(job, replace(rows, recompute=policies))
    for priced in prices.blocks.values():
        selective, full, none = priced  # in the order of the table: without recompute comes last
        for policy in (selective, full):
            assert (policy.memory.saved_bytes <= none.memory.saved_bytes).all()
            assert (policy.recompute_flops >= none.recompute_flops).all()
            assert (policy.backward.compute_s >= none.backward.compute_s).all()
        assert (full.recompute_flops >= selective.recompute_flops * (1 - 1e-12)).all()
        assert (none.recompute_flops == 0).all()


def states(job: Job, rows: Layouts, elements: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    count = np.full(len(rows), elements)
    parts = state_bytes(job, shard_groups(rows), count, count / 4)
    return np.stack([parts.parameters, parts.gradients, parts.optimizer])


@EXAMPLES
@given(choice=Jobs, elements=st.floats(1.0, 1e12))
def test_a_higher_zero_stage_never_holds_more_state(
    make_job: Any, choice: tuple[Any, ...], elements: float
) -> None:
    job, rows = drawn(make_job, choice)
    group = rows.cp * rows.dp
    names = ("shard_optimizer", "shard_gradients", "shard_parameters")
    held = []
    for stage in range(4):
        sizes = {name: np.where(stage > place, group, 1) for place, name in enumerate(names)}
        held.append(states(job, replace(rows, columns=rows.columns | sizes), elements))
    for lower, higher in itertools.pairwise(held):
        assert (higher <= lower).all()


@EXAMPLES
@given(choice=Jobs, elements=st.floats(1.0, 1e12), wider=st.integers(2, 8))
def test_sharding_over_more_ranks_never_holds_more_state(
    make_job: Any, choice: tuple[Any, ...], elements: float, wider: int
) -> None:
    job, rows = drawn(make_job, choice)
    columns = rows.columns
    names = ("shard_optimizer", "shard_gradients", "shard_parameters")
    grown = {name: np.where(columns[name] > 1, columns[name] * wider, 1) for name in names}
    larger = replace(rows, columns=columns | {"dp": columns["dp"] * wider} | grown)
    assert (states(job, larger, elements) <= states(job, rows, elements) * (1 + 1e-12)).all()
