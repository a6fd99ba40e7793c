"""The reference space: what is in it, counted and without repetition."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from planner.jobs.loader import load_job
from planner.layouts.layouts import COLUMNS
from planner.layouts.legality import legal_mask
from planner.layouts.space.choices import near_even
from planner.layouts.space.space import Space, describe, search_space


def rows(space: Space, block_rows: int = 1 << 16) -> Any:
    blocks = [
        np.stack([layouts.columns[name] for name in COLUMNS], axis=1)
        for _, layouts, _ in space.blocks(block_rows=block_rows)
    ]
    return np.concatenate(blocks)


@pytest.mark.parametrize(
    ("model", "framework", "devices", "batch"),
    [
        ("llama3-8b", "megatron-core", 32, 64),
        ("mixtral-8x7b", "ideal", 12, 24),
        ("gpt3-6.7b", "deepspeed", 24, 48),
        ("deepseek-v2-lite", "torchtitan", 16, 32),
        ("mixtral-8x7b", "megatron-lm", 16, 32),
    ],
)
def test_counted_made_legal_and_distinct(
    make_job: Any, model: str, framework: str, devices: int, batch: int
) -> None:
    job = make_job(model, devices, batch, framework=framework)
    space = search_space(job)
    table = rows(space)
    assert len(table) == space.size == len(np.unique(table, axis=0))
    for group, layouts, owner in space.blocks(block_rows=5000):
        assert legal_mask(layouts, job).all()
        expected = dict(zip(group.tolist(), space.candidates[group].tolist(), strict=True))
        made = dict(zip(*(part.tolist() for part in np.unique(owner, return_counts=True)), strict=True))
        assert made == expected


def test_blocks_are_bounded(make_job: Any) -> None:
    space = search_space(make_job("llama3-8b", 32, 64))
    largest = int(space.candidates.max())
    assert all(len(layouts) <= max(1000, largest) for _, layouts, _ in space.blocks(block_rows=1000))


def test_ordered_factorisations_are_complete(make_job: Any) -> None:
    """GPT-3 2.7B (32 heads, 32 layers) on 64 devices: every split whose degrees divide heads, layers, batch and sequence."""
    space = search_space(make_job("gpt3-2.7b", 64, 512, fix={"sp": False}))
    outer = space.outer
    found = set(
        zip(*(outer.columns[name].tolist() for name in ("tp", "ulysses", "ring", "pp", "dp")), strict=True)
    )
    powers = (1, 2, 4, 8, 16, 32, 64)
    expected = {
        (tp, u, r, pp, dp)
        for tp, u, r, pp, dp in product(powers, repeat=5)
        if tp * u * r * pp * dp == 64 and tp * u <= 32 and pp <= 32
    }
    assert found == expected


def test_gpt3_on_1024_devices_has_over_a_million(examples: Any) -> None:
    space = search_space(load_job(examples / "gpt3-175b-a100.yaml"))
    assert space.size > 1_000_000
    knobs = describe(space)
    assert knobs["pp"] == [1, 2, 4, 8, 16, 32]
    assert max(knobs["tp"]) == 32  # 96 heads


def test_hybrid_groups_at_each_network_level(make_job: Any) -> None:
    """16 devices in nodes of 4: with tp 1 full shards lie over 4 ranks (a node) or 16 (all); with tp 2 over 2 or 8."""
    space = search_space(make_job("llama3-8b", 16, 16, per_node=4, fix={"pp": 1, "cp": 1}))
    table = rows(space)
    sizes = {
        tp: set(table[table[:, COLUMNS.index("tp")] == tp][:, COLUMNS.index("shard_parameters")].tolist())
        for tp in (1, 2)
    }
    assert sizes == {1: {1, 4, 16}, 2: {1, 2, 8}}


def test_near_even_stages() -> None:
    """Llama 3 405B: 126 layers on 16 stages, one layer less at both ends (Llama 3 report, section 3.3.2)."""
    assert near_even(126, 16) == (7, *(8,) * 14, 7)
    assert sum(near_even(61, 16)) == 61
