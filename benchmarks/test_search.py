"""Layouts per second of the cost model and of the whole search, in process, after loading."""

from __future__ import annotations

import resource
import time
from typing import Any

import numpy as np
import pytest

from benchmarks.reference_jobs import reference_job
from planner.costs.evaluate import evaluate, memory_totals
from planner.costs.prices import Prices, price_model
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.layouts.space.space import search_space
from planner.solvers.refine import refine
from planner.solvers.search import search

ROWS = 1 << 17
SINGLE_ROWS = 50


@pytest.fixture(scope="module")
def block(gpt3_job: Job) -> Layouts:
    """One block of the search space as the sweep sees it."""
    space = search_space(gpt3_job)
    return next(space.blocks(np.arange(len(space.outer)), block_rows=ROWS))[1]


@pytest.fixture(scope="module")
def prices(gpt3_job: Job, block: Layouts) -> Prices:
    return price_model(gpt3_job, block)


def test_evaluate_many(benchmark: Any, gpt3_job: Job, block: Layouts, prices: Prices) -> None:
    """Step time and memory of a block."""
    benchmark.extra_info["layouts"] = len(block)
    result = benchmark.pedantic(evaluate, (gpt3_job, block, prices), rounds=3)
    assert np.isfinite(result.step_time_s).all()


def test_evaluate_one_by_one(benchmark: Any, gpt3_job: Job, block: Layouts, prices: Prices) -> None:
    """The same code, a row at a time."""
    places = np.linspace(0, len(block) - 1, SINGLE_ROWS).astype(np.int64)
    rows = [block.take(slice(int(place), int(place) + 1)) for place in places]

    def loop() -> None:
        for row in rows:
            evaluate(gpt3_job, row, prices)

    benchmark.extra_info["layouts"] = SINGLE_ROWS
    benchmark.pedantic(loop, rounds=3)


def test_memory_many(benchmark: Any, gpt3_job: Job, block: Layouts, prices: Prices) -> None:
    """Memory alone, which screens most layouts."""
    benchmark.extra_info["layouts"] = len(block)
    benchmark.pedantic(memory_totals, (gpt3_job, block, prices), rounds=3)


def test_generate_space(benchmark: Any, gpt3_job: Job) -> None:
    """Making every legal layout without pricing it."""
    space = search_space(gpt3_job)
    benchmark.extra_info["layouts"] = space.size
    benchmark.pedantic(lambda: sum(len(layouts) for _, layouts, _ in space.blocks()), rounds=3)


CASES = (("gpt3-175b", 1024), ("gpt3-175b", 16384), ("deepseek-v3", 2048), ("deepseek-v3", 98304))
"""Whole searches over the reference space: each is to take less than 2 s of one core and 2 GiB."""

TOP, REFINED = 21, 20


@pytest.mark.parametrize(("model", "devices"), CASES)
def test_search(benchmark: Any, model: str, devices: int) -> None:
    """The whole search with Pareto set and proof, and the ten best predicted in full."""
    job = reference_job(model, devices)
    begin = time.process_time()
    result = benchmark.pedantic(search, (job,), rounds=2)
    seconds = (time.process_time() - begin) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    space = result.space
    pruned = ", ".join(f"{reason} {count:,}" for reason, count in space["pruned"].items())
    benchmark.extra_info["counts"] = (
        f"{space['candidates']:,} candidates, {space['evaluated']:,} evaluated, pruned: {pruned}; "
        f"{seconds:.2f} s of one core, {space['candidates'] / seconds / 1e6:.1f} million candidates/s, "
        f"{peak:.2f} GiB at most in this process"
    )
    assert result.certificate["proved"]
    assert peak < 2.0


@pytest.mark.parametrize(("model", "devices"), CASES)
def test_refine(benchmark: Any, model: str, devices: int) -> None:
    """The best 20 simulated after the search: less than 10 s of one core."""
    job = reference_job(model, devices)
    plans = search(job, top=TOP, pareto=False).plans
    begin = time.process_time()
    done = benchmark.pedantic(refine, (job, plans), {"count": REFINED}, rounds=1)
    seconds = time.process_time() - begin
    simulated = sum(item.simulated_s is not None for item in done.plans)
    benchmark.extra_info["counts"] = f"{simulated} layouts simulated in {seconds:.1f} s of one core"
    assert simulated == REFINED


def test_search_gpt3_ranking_only(benchmark: Any, gpt3_job: Job) -> None:
    """The same without the Pareto set."""
    result = benchmark.pedantic(search, (gpt3_job,), {"pareto": False}, rounds=2)
    benchmark.extra_info["layouts"] = result.space["candidates"]
    assert result.certificate["proved"]
