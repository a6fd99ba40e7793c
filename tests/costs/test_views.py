"""Parts of a block that are priced once for many rows cost what each row costs alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.prices import QUANTITIES, price_model
from planner.layouts.space.space import search_space

ROWS = 300
"""Fewer than are told apart, so that every row is priced by itself."""


CASES = [
    ("mixtral-8x7b", "megatron-core", {}),
    ("gpt-oss-20b", "megatron-core", {"allow": {"axis_order": ["tp", "dp", "cp", "ep", "pp"]}}),
    ("deepseek-v2-lite", "ideal", {}),
]


@pytest.mark.parametrize(("model", "framework", "options"), CASES)
def test_prices_of_many_rows_equal_those_of_few(
    make_job: Any, model: str, framework: str, options: dict[str, Any]
) -> None:
    job = make_job(model, 48, 96, framework=framework, per_node=8, limit={"micro_batch": 4}, **options)
    rows = search_space(job).opened()[0].outer
    rows = rows.take(np.random.default_rng(3).permutation(len(rows))[:6000])
    many = price_model(job, rows)
    assert len(many.keys) > 4 * ROWS
    for begin in range(0, len(rows), 10 * ROWS):
        part = rows.take(slice(begin, begin + ROWS))
        few = price_model(job, part)
        for block in job.model.blocks:
            for quantity in QUANTITIES:
                for again in (False, True):
                    alone = few.rows(part).get(block, quantity, recomputed=again)
                    assert np.array_equal(many.rows(part).get(block, quantity, recomputed=again), alone)


@pytest.mark.parametrize(("model", "framework", "options"), CASES)
def test_blocks_without_experts_cost_the_same_on_any_mesh_of_the_experts(
    make_job: Any, model: str, framework: str, options: dict[str, Any]
) -> None:
    job = make_job(model, 48, 96, framework=framework, per_node=8, limit={"micro_batch": 4}, **options)
    closed = search_space(job)
    rows = closed.opened()[0].outer
    rows = rows.take(np.random.default_rng(5).permutation(len(rows))[:2000])
    known = price_model(job, rows, known=price_model(job, closed.outer, least=True))
    fresh = price_model(job, rows)
    assert known.routed < set(job.model.blocks)
    for block in job.model.blocks:
        for quantity in QUANTITIES:
            for again in (False, True):
                kept = known.rows(rows).get(block, quantity, recomputed=again)
                assert np.array_equal(kept, fresh.rows(rows).get(block, quantity, recomputed=again))
