"""Every way to hold the states of replicas trains like one process, in 64 bits, and sends what its paper says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from planner.jobs.framework import load_framework
from planner.layouts.layout import Layout, Shard
from planner.models.spec import ModelSpec
from planner.validation.real_runs.launch import Finished, run_all
from planner.validation.trainer.cuts import assemble
from planner.validation.trainer.groups import single_process
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.step import Trainer

SAMPLES, LAYERS, MICRO_BATCHES = 8, 2, 2
UNITS = LAYERS + 2
LLAMA: dict[str, Any] = {
    "layers": LAYERS,
    "hidden": 8,
    "heads": 2,
    "kv_heads": 1,
    "ffn_hidden": 12,
    "vocab": 15,
    "norm": "rms",
    "positions": "rope",
    "gated_mlp": True,
    "activation": "silu",
}
FOUR = {
    "zero0": Shard(),
    "zero2": Shard(gradients=4, optimizer=4),
    "zero3": Shard(4, 4, 4),
    "hsdp": Shard(2, 2, 2),
    "hsdp2": Shard(1, 2, 2),
}


def _settings(framework: str, dp: int, shard: Shard, *, tied: bool = False, bucket: float = 0.0) -> Settings:
    spec = ModelSpec(**LLAMA, tied_embeddings=tied)
    count = min(MICRO_BATCHES, SAMPLES // dp)
    layout = Layout(dp=dp, shard=shard, micro_batch=SAMPLES // dp // count, micro_batches=count)
    profile = load_framework(framework)
    return Settings(spec, layout, profile, 8, SAMPLES, double=True, bucket_bytes=bucket)


def _alone(settings: Settings) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and gradients of the same training in this process."""
    layout = Layout(micro_batch=SAMPLES)
    trainer = Trainer(replace(settings, layout=layout), single_process())
    losses = [float(loss) for step in range(settings.steps) if (loss := trainer.step(step)) is not None]
    return losses, assemble(trainer.gradient_pieces())


def _assert_equal(run: Finished) -> None:
    losses, gradients = _alone(run.settings)
    assert run.result.losses == pytest.approx(losses, rel=1e-12)
    assert run.gradients.keys() == gradients.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(run.gradients[name], value, rtol=1e-9, atol=1e-13)


def _calls(run: Finished) -> Counter[str]:
    calls: Counter[str] = Counter()
    for call in run.result.ranks[0].calls:
        calls[call.collective] += call.calls
    return calls


def test_units_of_four_replicas() -> None:
    runs = dict(
        zip(
            FOUR,
            run_all([_settings("torchtitan", 4, shard) for shard in FOUR.values()], timeout_s=120),
            strict=True,
        )
    )
    for run in runs.values():
        _assert_equal(run)
    # whole gradients are summed once per step; shards in every micro-batch (FSDP2 without no_sync)
    assert _calls(runs["zero0"]) == {"all_reduce": UNITS}
    passes = UNITS * MICRO_BATCHES
    assert _calls(runs["zero2"]) == {"all_gather": passes, "reduce_scatter": passes}
    # backward begins with the head, whose weights forward has kept
    gathered = (2 * UNITS - 1) * MICRO_BATCHES
    assert _calls(runs["zero3"]) == {"all_gather": gathered, "reduce_scatter": passes}
    summed = {"all_reduce": passes}
    assert _calls(runs["hsdp"]) == {"all_gather": gathered, "reduce_scatter": passes} | summed
    assert _calls(runs["hsdp2"]) == {"all_gather": passes, "reduce_scatter": passes} | summed


def test_two_replicas_with_flat_buckets_and_with_tied_tables() -> None:
    runs = run_all(
        [
            _settings("megatron-core", 2, Shard(), tied=True),
            _settings("megatron-core", 2, Shard(optimizer=2)),
            _settings("megatron-core", 2, Shard(optimizer=2), bucket=2000.0),
            _settings("torchtitan", 2, Shard(), tied=True),
            _settings("torchtitan", 2, Shard(2, 2, 2), tied=True),
        ],
        timeout_s=120,
    )
    for run in runs:
        _assert_equal(run)
    # without a bucket size each layer and each end is one; with one, whole parameters are packed until it is full
    assert _calls(runs[0]) == {"all_reduce": UNITS}
    assert _calls(runs[1]) == {"reduce_scatter": UNITS, "all_gather": UNITS}
    assert _calls(runs[2]) == {"reduce_scatter": 3, "all_gather": 3}
