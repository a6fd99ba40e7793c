"""Tensor and context parallelism on two and four gloo processes: losses and gradients of one process, in 64 bits."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from planner.jobs.framework import load_framework
from planner.jobs.types import LossOptions
from planner.layouts.layout import Layout
from planner.models.spec import ModelSpec
from planner.validation.real_runs.launch import Finished, run_all
from planner.validation.trainer.cuts import assemble
from planner.validation.trainer.groups import single_process
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.step import Trainer

LAYERS, MICRO_BATCHES, SEQUENCE, HIDDEN = 2, 2, 16, 16
BASE: dict[str, Any] = {"layers": LAYERS, "hidden": HIDDEN, "heads": 4, "ffn_hidden": 24, "vocab": 40}
LLAMA = {"kv_heads": 2, "gated_mlp": True, "activation": "silu", "qk_norm": "head_dim"}
GPT = {"norm": "layer", "biases": "all", "positions": "learned", "tied_embeddings": True}
RANKS = {"q_lora_rank": 6, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 2, "v_head_dim": 6}
MLA = {"gated_mlp": True, "mla": RANKS}

TP, SP, SHARED = Layout(tp=2), Layout(tp=2, sp=True), LossOptions(vocab_parallel=False)


def _settings(model: dict[str, Any], framework: str, layout: Layout, **options: Any) -> Settings:
    spec = ModelSpec(**(BASE | model), seq_len=SEQUENCE)
    layout = replace(layout, micro_batches=MICRO_BATCHES)
    profile = load_framework(framework)
    return Settings(spec, layout, profile, SEQUENCE, MICRO_BATCHES, double=True, **options)


TWO = {
    "megatron tp": _settings(LLAMA, "megatron-core", TP),
    "megatron sp": _settings(LLAMA, "megatron-core", SP),
    "megatron sp, biases": _settings(GPT, "megatron-core", SP),
    "megatron sp, latent": _settings(MLA, "megatron-core", SP),
    "megatron tp, whole logits": _settings(LLAMA, "megatron-core", TP, loss=SHARED),
    "dtensor tp": _settings(LLAMA, "fsdp", TP),
    "dtensor sp": _settings(LLAMA, "torchtitan", SP),
    "dtensor sp, biases": _settings(GPT, "torchtitan", SP),
    "dtensor sp, latent": _settings(MLA, "torchtitan", SP),
    "dtensor sp, whole logits": _settings(LLAMA, "torchtitan", SP, loss=SHARED),
    "ulysses": _settings(LLAMA, "megatron-core", Layout(ulysses=2)),
    "ring": _settings(LLAMA, "torchtitan", Layout(ring=2)),
    "ring, latent": _settings(MLA, "megatron-core", Layout(ring=2)),
    "gathered, again": _settings(LLAMA, "megatron-core", Layout(ring=2, cp_kind="allgather")),
    "gathered, kept": _settings(LLAMA, "torchtitan", Layout(ring=2, cp_kind="allgather")),
}
FOUR = {
    "copied kv heads": _settings(LLAMA, "megatron-core", Layout(tp=4, sp=True)),
    "ring of four": _settings(LLAMA, "megatron-core", Layout(ring=4), attention="unfused"),
    "ring in order": _settings(LLAMA, "megatron-core", Layout(ring=4), cp_balance="contiguous"),
    "usp": _settings(LLAMA, "megatron-core", Layout(ulysses=2, ring=2)),
    "dtensor sp, ring": _settings(LLAMA, "torchtitan", Layout(tp=2, sp=True, ring=2)),
    "cp inside tp": _settings(
        GPT, "megatron-core", Layout(tp=2, sp=True, ring=2, axis_order=("cp", "tp", "ep", "dp", "pp"))
    ),
}


@pytest.fixture(scope="module")
def runs() -> dict[str, Finished]:
    """All layouts, one launch for each number of processes."""
    finished: dict[str, Finished] = {}
    for cases in (TWO, FOUR):
        finished |= zip(cases, run_all(list(cases.values()), timeout_s=240), strict=True)
    return finished


@pytest.mark.parametrize("case", [*TWO, *FOUR])
def test_layouts_train_like_one_process(runs: dict[str, Finished], case: str) -> None:
    run = runs[case]
    alone = Trainer(replace(run.settings, layout=Layout(micro_batches=MICRO_BATCHES)), single_process())
    losses = [float(loss) for step in range(run.settings.steps) if (loss := alone.step(step)) is not None]
    assert run.result.losses == pytest.approx(losses, rel=1e-12)
    gradients = assemble(alone.gradient_pieces())
    assert run.gradients.keys() == gradients.keys()
    for name, value in gradients.items():
        torch.testing.assert_close(run.gradients[name], value, rtol=1e-9, atol=1e-12)


STREAM = SEQUENCE * HIDDEN * 8
"""Bytes of one micro-batch's residual stream."""


def _tp_calls(run: Finished) -> Counter[tuple[str, str, int]]:
    calls: Counter[tuple[str, str, int]] = Counter()
    for call in run.result.ranks[0].calls:
        if call.axis == "tp" and call.nbytes == STREAM:
            calls[call.collective, call.pass_, call.nbytes] += call.calls
    return calls


def test_calls_of_megatrons_sequence_parallelism(runs: dict[str, Finished]) -> None:
    """arXiv 2205.05198, section 4.2: per layer two gathers and two reduce-scatters each way, and two gathers again."""
    branches = (
        2 * LAYERS + 1
    ) * MICRO_BATCHES  # the embedding scatters and the head gathers: one branch more
    assert _tp_calls(runs["megatron sp"]) == {
        ("all_gather", "forward", STREAM): branches,
        ("reduce_scatter", "forward", STREAM): branches,
        ("reduce_scatter", "backward", STREAM): branches,
        ("all_gather", "backward", STREAM): 2 * branches,
    }


def test_dtensor_without_sequence_parallelism_sums_each_projections_gradient(
    runs: dict[str, Finished],
) -> None:
    """No hook shares an input: q, k, v, gate and up reduce their own, and so does the head."""
    assert _tp_calls(runs["dtensor tp"]) == {
        ("all_reduce", "forward", STREAM): (2 * LAYERS + 1) * MICRO_BATCHES,
        ("all_reduce", "backward", STREAM): (5 * LAYERS + 1) * MICRO_BATCHES,
    }
