"""A full prediction of a layout agrees with its row among many (tests/costs/test_identities.py has rows one by one)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.evaluate import evaluate
from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts, from_layouts
from planner.layouts.space.space import search_space


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
def test_a_full_prediction_agrees_with_its_row(make_job: Any, name: str) -> None:
    job = jobs(make_job)[name]
    layouts = sample(job, 40)
    result = evaluate(job, layouts)
    for place in range(len(layouts)):
        prediction = predict(job, layouts.row(place))
        assert prediction.step_time_s == result.step_time_s[place]
        assert prediction.memory.device_used_bytes == result.memory.device_used_bytes[place]
        assert prediction.memory.fits == result.memory.fits[place]
