"""Identities of the cost model: a batch is its rows, classes add up, parts add up, JSON keeps everything."""

from __future__ import annotations

import json
from typing import Any

import pytest

from planner.costs.evaluate import evaluate
from planner.costs.predict import predict, predict_ranking
from planner.layouts.layouts import from_layouts
from tests.costs.samples import DENSE, MOE, random_layouts

JOBS = [(DENSE, "ideal", 1), (MOE, "ideal", 2), (DENSE, "megatron-core", 3), (MOE, "torchtitan", 4)]


@pytest.mark.parametrize(("model", "framework", "seed"), JOBS)
def test_many_layouts_are_the_same_layouts_one_by_one(
    make_job: Any, model: dict[str, Any], framework: str, seed: int
) -> None:
    """2,500 random rows of four jobs each: every figure of the batch equals that of the row alone, bit for bit."""
    job = make_job(model, devices=64, global_batch=128, seq_len=2048, framework=framework)
    rows = random_layouts(job, 2500, seed)
    many = evaluate(job, rows)
    for index in range(len(rows)):
        one = evaluate(job, from_layouts([rows.row(index)]))
        assert one.step_time_s[0] == many.step_time_s[index]
        assert one.memory.peak_bytes[0] == many.memory.peak_bytes[index]
        assert one.memory.device_used_bytes[0] == many.memory.device_used_bytes[index]
        assert one.memory.host_bytes[0] == many.memory.host_bytes[index]
        assert one.memory.fits[0] == many.memory.fits[index]


@pytest.mark.parametrize(
    ("model", "framework"), [(DENSE, "ideal"), (MOE, "megatron-core"), (DENSE, "fsdp"), (MOE, "deepspeed")]
)
def test_parts_add_up(make_job: Any, model: dict[str, Any], framework: str) -> None:
    """Time classes add up to the step on every pipeline rank, memory classes to the peak; a prediction is its evaluation."""
    job = make_job(model, devices=64, global_batch=128, seq_len=2048, framework=framework)
    rows = random_layouts(job, 60, 7)
    many = evaluate(job, rows)
    for index in range(len(rows)):
        prediction = predict(job, rows.row(index))
        assert prediction.step_time_s == pytest.approx(many.step_time_s[index], rel=1e-12)
        assert prediction.memory.peak_bytes == many.memory.peak_bytes[index]
        assert prediction.memory.fits == many.memory.fits[index]
        for rank in prediction.ranks:
            assert rank.time.total_s == pytest.approx(prediction.step_time_s, rel=1e-9)
            assert (
                min(rank.time.compute_s, rank.time.bubble_s, rank.time.host_s, *rank.time.exposed.values())
                >= 0.0
            )
            assert sum(rank.memory.by_class.values()) == pytest.approx(rank.memory.peak_bytes, rel=1e-12)
            for axis, seconds in rank.time.exposed.items():
                if axis not in ("offload", "pp"):
                    shared = sum(c.exposed_s for c in rank.communication if c.axis == axis)
                    assert shared == pytest.approx(seconds, rel=1e-9, abs=1e-12)
        assert max(prediction.memory.by_rank) == prediction.memory.peak_bytes


@pytest.mark.parametrize(
    ("model", "framework"),
    [(DENSE, "megatron-core"), (MOE, "megatron-core"), (DENSE, "torchtitan"), (MOE, "deepspeed")],
)
def test_plans_of_a_ranking_are_those_of_single_layouts(
    make_job: Any, model: dict[str, Any], framework: str
) -> None:
    """Whatever is priced together: times, memory and transfers of every rank, bit for bit."""
    job = make_job(model, devices=64, global_batch=128, seq_len=2048, framework=framework)
    rows = random_layouts(job, 60, 11)
    ranking = predict_ranking(job, rows)
    assert [plan.rank for plan in ranking] == list(range(1, len(rows) + 1))
    for index, plan in enumerate(ranking):
        assert plan == predict(job, rows.row(index), rank=index + 1)


def test_prediction_survives_json(make_job: Any) -> None:
    job = make_job(DENSE, devices=8, global_batch=8)
    prediction = predict(job, random_layouts(job, 1, 3).row(0))
    plain = json.loads(json.dumps(prediction.to_json()))
    assert plain["step_time_s"] == prediction.step_time_s
    assert plain["memory"]["by_class"] == dict(prediction.memory.by_class)
    assert {row["pass"] for row in plain["communication"]} <= {
        "forward",
        "backward",
        "recompute",
        "optimizer",
    }
