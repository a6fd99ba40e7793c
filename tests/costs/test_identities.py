"""Identities of the cost model: a batch is its rows, classes add up, parts add up, JSON keeps everything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from planner.costs.evaluate import evaluate
from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES, Offload, Recompute
from planner.layouts.layouts import COLUMNS, Layouts, from_layouts
from planner.layouts.legality import legal_mask

DENSE = {
    "layers": 8,
    "hidden": 1024,
    "heads": 16,
    "kv_heads": 4,
    "ffn_hidden": 4096,
    "gated_mlp": True,
    "vocab": 32000,
    "tied_embeddings": True,
}
MOE = DENSE | {
    "moe": {"experts": 16, "topk": 2, "moe_ffn": 1024, "dense_layers": 1},
    "tied_embeddings": False,
}
POLICIES = (Recompute(), Recompute("selective", ("core_attention",)), Recompute("full"))
OFFLOADS = (Offload(), Offload(optimizer=("host", 1.0)), Offload(activations=("host", 0.5)))


def random_layouts(job: Job, count: int, seed: int) -> Layouts:
    """Legal layouts drawn independently knob by knob and filtered; at least ``count`` rows."""
    generator = np.random.default_rng(seed)
    found: list[Layouts] = []
    total = 0
    while total < count:
        draws = 400_000
        powers = np.array([1, 2, 4, 8])
        c = {name: np.zeros(draws, dtype=np.int64) for name in COLUMNS}
        for name in ("tp", "ulysses", "ring", "pp", "vpp", "ep", "etp", "micro_batch"):
            c[name] = generator.choice(powers, draws, p=[0.55, 0.2, 0.15, 0.1])
        c["dp"] = np.maximum(job.devices // (c["tp"] * c["ulysses"] * c["ring"] * c["pp"]), 1)
        group = c["dp"] * c["ulysses"] * c["ring"]
        stage = generator.integers(0, 4, draws)
        for needed, name in enumerate(("shard_optimizer", "shard_gradients", "shard_parameters"), start=1):
            c[name] = np.where(stage >= needed, group, 1)
        names = ("gpipe", "1f1b", "interleaved_1f1b", "zb_h1")
        c["schedule"] = generator.choice([SCHEDULES.index(name) for name in names], draws)
        c["sp"] = generator.integers(0, 2, draws)
        c["micro_batches"] = np.maximum(job.training.global_batch // (c["dp"] * c["micro_batch"]), 1)
        c["recompute"] = generator.integers(0, len(POLICIES), draws)
        c["recompute_layers"] = generator.choice([-1, 1], draws)
        c["recompute_layers"][c["recompute"] == 0] = -1
        c["offload"] = generator.integers(0, len(OFFLOADS), draws)
        c["cp_gather"] = generator.integers(0, 2, draws) * (c["ring"] > 1)
        rows = Layouts(c, POLICIES, OFFLOADS, (None,), (("tp", "cp", "ep", "dp", "pp"),))
        legal = rows.take(np.flatnonzero(legal_mask(rows, job)))
        found.append(legal)
        total += len(legal)
    columns = {name: np.concatenate([part.columns[name] for part in found])[:count] for name in COLUMNS}
    return Layouts(columns, POLICIES, OFFLOADS, (None,), (("tp", "cp", "ep", "dp", "pp"),))


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
