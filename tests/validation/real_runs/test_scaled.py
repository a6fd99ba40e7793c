"""Copies of large plans that fit a few processes."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout
from planner.validation.real_runs.scaled.copy import Cut, ScaledCopy, scaled_copy
from planner.validation.real_runs.scaled.layout import scaled_layout
from planner.validation.trainer.settings import settings_of


def job(model: str, framework: str, devices: int, **training: object) -> Job:
    section = {"global_batch": 2048, "seq_len": 4096, "framework": framework, **training}
    return load_job({"model": model, "cluster": "h100-superpod", "devices": devices, "training": section})


def copied(model: str, framework: str, knobs: str, devices: int, most: int, **training: object) -> ScaledCopy:
    large = job(model, framework, devices, **training)
    return scaled_copy(large, parse_layout(knobs, large), most)


def test_the_largest_degree_is_halved_until_the_ranks_suffice() -> None:
    # 8 x 8 x 16: dp 8; then each of the three to 4 (dp, pp, tp), and to 2 likewise.
    small = scaled_layout(Layout(tp=8, etp=8, pp=8, dp=16, micro_batches=16), 8)
    assert (small.tp, small.pp, small.dp, small.etp) == (2, 2, 2, 2)
    assert small.micro_batches == 4
    # With fewer ranks than axes the last of CUT_FIRST stay.
    small = scaled_layout(Layout(tp=8, etp=8, pp=8, dp=16, micro_batches=16), 4)
    assert (small.tp, small.pp, small.dp) == (2, 2, 1)


def test_odd_degrees_go_through_two_to_one() -> None:
    assert scaled_layout(Layout(pp=3, dp=4, micro_batches=6), 4).pp == 2


@pytest.mark.parametrize(
    ("model", "framework", "knobs", "devices", "kept"),
    [
        (
            "llama3-70b",
            "megatron-core",
            "tp=8,pp=8,dp=16,vpp=2,schedule=interleaved_1f1b,zero_stage=1",
            1024,
            {
                "tp": 2,
                "pp": 2,
                "dp": 2,
                "vpp": 2,
                "sp": True,
                "schedule": "interleaved_1f1b",
                "zero_stage": 1,
            },
        ),
        ("deepseek-v3", "megatron-core", "tp=2,pp=16,ep=32,dp=32,recompute=full", 1024, {"ep": 2, "tp": 2}),
        (
            "mixtral-8x7b",
            "torchtitan",
            "dp=64,ep=8,shard={parameters: 8, gradients: 8, optimizer: 8}",
            64,
            {"dp": 8, "ep": 4},
        ),
        ("llama3-8b", "torchtitan", "tp=8,cp=4,dp=32,zero_stage=3", 1024, {"cp": 2, "zero_stage": 3}),
    ],
)
def test_copies_are_runnable_and_keep_their_axes(
    model: str, framework: str, knobs: str, devices: int, kept: dict[str, object]
) -> None:
    copy = copied(model, framework, knobs, devices, 8)
    settings = settings_of(copy.job, copy.layout)
    assert settings.world_size == 8
    found = copy.layout.knobs()
    assert {name: found[name] for name in kept} == kept
    assert settings.model.hidden < 512
    assert settings.model.layers <= 8


def test_replicas_of_shards_stay_replicas() -> None:
    knobs = "dp=64,shard={parameters: 8, gradients: 8, optimizer: 8}"
    shard = copied("llama3-8b", "torchtitan", knobs, 64, 8).layout.shard
    assert (shard.parameters, shard.gradients, shard.optimizer) == (4, 4, 4)  # of dp 8: two replicas


def test_every_difference_is_told() -> None:
    copy = copied("llama3-8b", "megatron-core", "tp=4,dp=8", 32, 4, dropout=0.1)
    told = {cut.field: (cut.was, cut.now) for cut in copy.cuts}
    assert told["layout.dp"] == (8, 2)
    assert told["layout.tp"] == (4, 2)
    assert told["model.layers"] == (32, 4)
    assert told["training.dropout"] == (0.1, None)
    assert "layout.pp" not in told
    assert str(Cut("training.dropout", 0.1, None)) == "training.dropout 0.1 -> none"


def test_only_decoders_are_scaled_down() -> None:
    with pytest.raises(PlannerError, match=r"model.family: found encoder; only decoders are scaled down"):
        copied("bert-large", "megatron-lm", "dp=8", 8, 4, seq_len=512)
