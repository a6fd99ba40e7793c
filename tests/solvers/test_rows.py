"""A row among many is priced as if it stood alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.evaluate import evaluate
from planner.costs.predict import predict
from planner.costs.prices import price_model
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.space.space import search_space

ROWS = 2500
ALONE = 100


def jobs(make_job: Any) -> dict[str, Job]:
    return {
        "dense": make_job("llama3-8b", 64, 128),
        "experts": make_job("mixtral-8x7b", 64, 128, framework="megatron-core"),
        "long sequences": make_job("llama3-8b", 32, 8, seq_len=131072),
        "sharded": make_job("gpt3-6.7b", 48, 96, framework="torchtitan", per_node=6),
    }


NAMES = ("dense", "experts", "long sequences", "sharded")


def sample(job: Job, count: int) -> Layouts:
    """Rows drawn from the whole space."""
    space = search_space(job)
    random = np.random.default_rng(1)
    rows = random.choice(len(space.outer), min(len(space.outer), 400), replace=False)
    drawn = [
        layouts.row(int(place))
        for _, layouts, _ in space.blocks(rows, block_rows=1000)
        for place in random.choice(len(layouts), min(len(layouts), 1 + count // 4), replace=False)
    ]
    chosen = random.choice(len(drawn), count, replace=len(drawn) < count)
    return from_layouts([drawn[int(place)] for place in chosen])


@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_rows_equal_themselves_one_by_one(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    layouts = sample(job, ROWS)
    prices = price_model(job, layouts)
    together = evaluate(job, layouts, prices)
    for place in range(ROWS):
        one = layouts.take(slice(place, place + 1))
        alone = evaluate(job, one) if place < ALONE else evaluate(job, one, prices)
        assert alone.step_time_s[0] == together.step_time_s[place]
        for field in (
            "peak_bytes",
            "reserved_bytes",
            "device_used_bytes",
            "host_bytes",
            "nvme_bytes",
            "fits",
        ):
            assert getattr(alone.memory, field)[0] == getattr(together.memory, field)[place]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_prediction_agrees_with_its_row(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    layouts = sample(job, 40)
    result = evaluate(job, layouts)
    for place in range(len(layouts)):
        prediction = predict(job, layouts.row(place))
        assert prediction.step_time_s == result.step_time_s[place]
        assert prediction.memory.device_used_bytes == result.memory.device_used_bytes[place]
        assert prediction.memory.fits == result.memory.fits[place]
