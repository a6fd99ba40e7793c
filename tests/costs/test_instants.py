"""Peaks of FSDP2 and DTensor against traces of PyTorch 2.13 on fake tensors: second step, first rank, flash attention."""

from __future__ import annotations

from typing import Any

import pytest

from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout


def peak(model: str, layers: int, framework: str, devices: int, batch: int, knobs: str, rank: int) -> Any:
    training = {"global_batch": batch, "seq_len": 8192, "framework": framework}
    job = load_job(
        {
            "name": "x",
            "model": {"preset": model, "layers": layers},
            "cluster": "h100-superpod",
            "devices": devices,
            "training": training,
        }
    )
    return predict(job, parse_layout(knobs, job)).ranks[rank].memory


@pytest.mark.parametrize(
    ("model", "layers", "framework", "devices", "batch", "knobs", "rank", "traced", "at"),
    [
        ("llama3-70b", 2, "torchtitan", 64, 64, "zero_stage=3", 0, 23_150_517_900, "head"),
        ("llama3-70b", 2, "torchtitan", 64, 64, "shard={parameters: 8},recompute=full", 0, 21_372_317_788, "head"),
        ("llama3-8b", 2, "torchtitan", 8, 16, "zero_stage=3,recompute=full,micro_batch=1", 0, 17_106_813_024, "head"),
        ("llama3-8b", 2, "torchtitan", 8, 8, "zero_stage=0,micro_batch=1", 0, 37_323_595_916, "head"),
        ("llama3-8b", 2, "torchtitan", 16, 16, "tp=8,sp=true,zero_stage=3", 0, 4_505_669_808, "head"),
        ("llama3-8b", 2, "fsdp", 4, 4, "tp=2,sp=false,zero_stage=3", 0, 17_669_374_104, "head"),
        ("llama3-70b", 2, "torchtitan", 64, 64, "tp=8,sp=true,zero_stage=3,recompute=full", 0, 4_013_047_928, "embedding"),
        ("llama3-405b", 4, "torchtitan", 512, 512, "zero_stage=3,recompute=full", 0, 37_391_175_612, "layer"),
        ("deepseek-v3", 6, "torchtitan", 64, 64, "ep=8,zero_stage=3,recompute=full", 0, 25_757_589_608, "layer"),
        ("llama3-8b", 8, "torchtitan", 8, 16, "pp=4,zero_stage=2,micro_batch=1", 0, 26_434_273_548, "layer"),
        ("llama3-8b", 8, "torchtitan", 8, 16, "pp=4,zero_stage=2,micro_batch=1", 3, 28_583_542_948, "head"),
    ],
)  # fmt: skip
def test_peak_as_traced(
    model: str,
    layers: int,
    framework: str,
    devices: int,
    batch: int,
    knobs: str,
    rank: int,
    traced: int,
    at: str,
) -> None:
    """Within 2 %, at the instant that holds the peak in the trace."""
    memory = peak(model, layers, framework, devices, batch, knobs, rank)
    assert memory.peak_at == f"{at} backward"
    assert memory.peak_bytes == pytest.approx(traced, rel=0.02)


def test_logits_that_ranks_share_out() -> None:
    """``loss_parallel`` has log-softmax, its one-hot gradient, exponentials and their sum alive: 16 bytes for each of the rank's
    logits; a compiler of layers does not change it."""
    memory = peak("llama3-8b", 2, "torchtitan", 16, 16, "tp=8,sp=true,zero_stage=3,recompute=full", 0)
    assert memory.by_class["logits"] in (0.0, 16.0 * 8192 * 128256 / 8)
    whole = peak("llama3-8b", 2, "torchtitan", 8, 8, "zero_stage=3,recompute=full", 0)
    assert whole.by_class["logits"] == 12.0 * 8192 * 128256
