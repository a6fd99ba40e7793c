"""Attention around a ring: blocks on and off the diagonal, and the merge of their results."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.costs.attention_core import attention_cost
from planner.costs.operator_cost import OperatorCost
from planner.costs.sizes import Sizes
from planner.hardware.types import AttentionKernel
from planner.jobs.loader import load_job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.sharding import Pattern, derive

TOKENS, HEADS, KV_HEADS, WIDTH = 65536, 32, 8, 128
PEAK, RATE, BANDWIDTH = 312e12, 0.5, 2e12
MASKED, WHOLE = 400.0, 100.0
"""Tokens whose time a masked and an unmasked call lose besides."""


def core(ring: int, framework: str, balance: str = "zigzag") -> OperatorCost:
    """One layer's attention of Llama 3 8B over 64K tokens on eight A100 with round constants."""
    training = {"global_batch": 8 // ring, "seq_len": TOKENS, "framework": framework, "cp_balance": balance}
    job = load_job({"model": "llama3-8b", "cluster": "a100-superpod", "devices": 8, "training": training})
    accelerator = job.cluster.accelerator
    kernels = replace(
        accelerator.kernels,
        attention_forward={"flash2": RATE},
        attention_backward={"flash2": RATE},
        attention_kernels={"flash2": AttentionKernel(causal_half=MASKED, full_half=WHOLE)},
        launch_s=0.0,
        memory_efficiency=1.0,
    )
    accelerator = replace(accelerator, kernels=kernels, memory_bandwidth=BANDWIDTH)
    job = replace(job, cluster=replace(job.cluster, accelerator=accelerator))
    block = job.model.blocks[job.model.layer_order[0]]
    operator = next(o for o in block.operators if o.kind == "attention")
    rules = derive(block, Pattern(ring=ring > 1))
    return attention_cost(
        operator, block, rules, Sizes(from_layouts([Layout(ring=ring, dp=8 // ring)]), job, block)
    )


def half_square(tokens: float, ratio: float = 1.0) -> float:
    """Seconds of the visible half of a square of tokens at the kernel's plateau."""
    return ratio * 4 * (tokens * tokens / 2) * HEADS * WIDTH / (PEAK * RATE)


MERGED, APART = 10.0, 34.0


def merging(tokens: float, elements_per_token: float, bytes_per_step: float, steps: int) -> float:
    """Seconds in which results are added up, and converted at both ends: 12 bytes."""
    return tokens * elements_per_token * WIDTH * (steps * bytes_per_step + 12) / BANDWIDTH


def test_without_a_ring_all_is_one_masked_call() -> None:
    alone = core(1, "megatron-core")
    assert alone.forward_s[0] == pytest.approx(half_square(TOKENS) * (1 + MASKED / TOKENS))
    assert alone.input_gradient_s[0] == pytest.approx(half_square(TOKENS, 2.5) * (1 + MASKED / TOKENS))


@pytest.mark.parametrize(("framework", "nbytes"), [("megatron-core", MERGED), ("fsdp", APART)])
def test_paired_chunks(framework: str, nbytes: float) -> None:
    """Of four blocks of 16K tokens one is masked; three are half as wide or half as long: 100 / 16K and 100 / 8K are lost."""
    part = TOKENS / 4
    blocks = half_square(part) * (1 + MASKED / part + 3 * (1 + (WHOLE / part + WHOLE / (part / 2)) / 2))
    assert core(4, framework).forward_s[0] == pytest.approx(blocks + merging(part, HEADS, nbytes, 3))


def test_contiguous_order_computes_whole_squares() -> None:
    """The last of four ranks: three whole squares, without a mask, and half of its own; Megatron's kernel merges."""
    part = TOKENS / 4
    blocks = half_square(part) * (1 + MASKED / part + 6 * (1 + WHOLE / part))
    found = core(4, "megatron-core", "contiguous")
    assert found.forward_s[0] == pytest.approx(blocks + merging(part, HEADS, MERGED, 3))
    gradients = merging(part, HEADS + 2 * KV_HEADS, 10.0, 3)
    assert found.input_gradient_s[0] == pytest.approx(2.5 * blocks + gradients)
