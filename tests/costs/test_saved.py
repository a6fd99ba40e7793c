"""What a block keeps for backward: eager PyTorch, policies over whole layers, cast matmul inputs, unfused attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.predict import predict
from planner.jobs.prediction import Prediction
from planner.layouts.knobs import parse_layout
from tests.costs.samples import DENSE

MIB, GIB = 2**20, 2**30
TOKENS, HIDDEN, KV, FFN = 8192, 4096, 1024, 14336


def eager(make_job: Any, knobs: str, **training: Any) -> Prediction:
    """Llama 3 8B, sequence 8192, on eight ranks of torchtitan."""
    job = make_job(
        "llama3-8b", global_batch=8, seq_len=TOKENS, framework="torchtitan", training=training or None
    )
    return predict(job, parse_layout(f"dp=8,zero_stage=3,micro_batch=1,{knobs}", job))


@pytest.mark.parametrize(
    ("recompute", "traced_gib"), [("none", 77.289), ("full", 26.255), ("selective", 39.785)]
)
def test_peak_of_eager_fsdp(make_job: Any, recompute: str, traced_gib: float) -> None:
    """Peaks of torchtitan v0.2.2's memory estimator (fake tensors, torch 2.13), attention outputs kept in 'selective'."""
    peak = eager(make_job, f"recompute={recompute}").memory.peak_bytes / GIB
    assert peak == pytest.approx(traced_gib, rel=0.005)


def test_tensors_of_an_eager_layer_by_hand(make_job: Any) -> None:
    """Two norms: two fp32 copies and the 16-bit result; q, k, v, output, log-sum-exp; gate, silu, up and their product."""
    layer = 2 * TOKENS * HIDDEN * (4 + 4 + 2)
    layer += TOKENS * 2 * (HIDDEN + 2 * KV + HIDDEN) + 4 * TOKENS * 32
    layer += 4 * 2 * TOKENS * FFN
    none, full = (
        eager(make_job, f"recompute={mode}").memory.by_class["activations"] for mode in ("none", "full")
    )
    assert (none - full) / 32 == pytest.approx(layer - 2 * TOKENS * HIDDEN)


def test_a_compiler_keeps_the_input_of_a_norm_only(make_job: Any) -> None:
    """65 norms, 6 bytes per element less; the product of a gated activation's halves needs no silu kept."""
    plain, compiled = (
        eager(make_job, "recompute=none", compile=switch).memory.by_class["activations"]
        for switch in (False, True)
    )
    assert plain - compiled == pytest.approx(TOKENS * (65 * 6 * HIDDEN + 32 * 2 * FFN))


def test_logits_of_an_eager_loss(make_job: Any) -> None:
    """Log-softmax, its gradient and that of the logits, all fp32."""
    memory = eager(make_job, "recompute=full").memory
    assert memory.peak_at == "head backward"
    assert memory.by_class["logits"] == pytest.approx(12 * TOKENS * 128256)


def test_gradients_grow_while_activations_go(make_job: Any) -> None:
    """One micro-batch: no gradient yet when all activations are alive; with two, those of the first are there."""
    one = eager(make_job, "recompute=none").memory
    job = make_job("llama3-8b", global_batch=16, seq_len=TOKENS, framework="torchtitan")
    two = predict(job, parse_layout("dp=8,zero_stage=3,micro_batch=1,recompute=none", job)).memory
    assert one.by_class["gradients"] == 0.0
    assert two.by_class["gradients"] == pytest.approx(4 * 8.03e9 / 8, rel=1e-3)


def test_transformer_engine_keeps_cast_inputs(make_job: Any) -> None:
    """fp8: normalised inputs and the activated product one byte instead of two, the attention output one byte more."""
    job = make_job(DENSE, devices=1, global_batch=1, framework="megatron-core")
    device = replace(job.cluster.accelerator, peak_flops={**job.cluster.accelerator.peak_flops, "fp8": 6e14})
    job = replace(job, cluster=replace(job.cluster, accelerator=device))
    kept = []
    for precision in ("bf16", "fp8"):
        chosen = replace(job, training=replace(job.training, precision=precision))
        kept.append(predict(chosen, parse_layout("micro_batch=1", chosen)).memory.by_class["activations"])
    assert kept[0] - kept[1] == pytest.approx(8 * 2048 * (1024 + 1024 + 4096 - 1024))


@pytest.mark.parametrize(("dropout", "width"), [(0.0, 2), (0.1, 2)])
def test_gradients_of_attention_scores(make_job: Any, dropout: float, width: int) -> None:
    """A fused softmax writes its gradient in place; where dropout has two alive, the dropped probabilities are gone: bytes per
    score beyond those kept."""
    peaks = []
    for seq_len in (16384, 32768):
        training = {"attention": "unfused", "dropout": dropout}
        job = make_job(
            DENSE, devices=1, global_batch=1, seq_len=seq_len, framework="megatron-lm", training=training
        )
        rank = predict(job, parse_layout("micro_batch=1,pp=1", job)).memory
        peaks.append(rank.by_class["transient"] / seq_len)
    # beside the scores only terms linear in the tokens: 2 x 2 x hidden per token
    assert peaks[1] - peaks[0] == pytest.approx(width * 16 * 16384)


def test_every_second_matmul_runs_again(make_job: Any) -> None:
    """torchtitan's op-level policy: of q, k, v, output, gate, up and down it repeats k, output and up, and no attention."""
    none, selective = (
        eager(make_job, f"recompute={mode}").flops_per_device for mode in ("none", "selective")
    )
    again = 2 * TOKENS * HIDDEN * (KV + HIDDEN + FFN)
    assert selective - none == pytest.approx(32 * again)
