"""Matmuls in 8 bits or fewer: how their tensors travel over tp, what their casts move, how far their traffic hides."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.block import price_block
from planner.costs.block_price import BlockPrice
from planner.costs.kernels import cast_seconds
from planner.hardware.accelerators import load_accelerator
from planner.jobs.framework import load_framework
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute
from planner.layouts.layouts import from_layouts
from tests.costs.samples import DENSE

TOKENS = 2048
STREAM = TOKENS * DENSE["hidden"]
"""Elements of a layer's input."""


def on_blackwell(make_job: Any, precision: str, **training: Any) -> Job:
    """The dense sample under Megatron-Core on GB200."""
    job = make_job(
        DENSE, seq_len=TOKENS, framework="megatron-core", training={"precision": precision} | training
    )
    cluster = replace(job.cluster, accelerator=load_accelerator("gb200-nvl72"))
    return replace(job, cluster=cluster)


def layer_price(job: Job, **degrees: Any) -> BlockPrice:
    block = next(block for block in job.model.blocks.values() if block.kind == "layer")
    return price_block(block, from_layouts([Layout(**degrees)]), job, [Recompute()])[0]


def gathers(job: Job) -> Counter[tuple[str, float]]:
    """Gathers of a layer by pass and bytes per element of the stream."""
    moved = layer_price(job, tp=8, sp=True).transfers
    return Counter(
        (t.exchange.pass_, float(t.nbytes[0]) / STREAM)
        for t in moved
        if t.exchange.collective == "all_gather"
    )


@pytest.mark.parametrize(
    ("precision", "once", "gradient"),
    [("bf16", 2.0, 2.0), ("fp8", 1.0, 1.0), ("mxfp8", 33 / 32, 33 / 16), ("nvfp4", 9 / 16, 9 / 8)],
)
def test_inputs_and_gradients_are_gathered_as_cast(
    make_job: Any, precision: str, once: float, gradient: float
) -> None:
    """Inputs of both column-parallel layers in forward and again in backward; gradients of both row-parallel outputs in the
    two directions that block scales have (gather_along_first_dim of Transformer Engine)."""
    expected = Counter({("forward", once): 2, ("backward", once): 2})
    expected[("backward", gradient)] += 2
    assert gathers(on_blackwell(make_job, precision)) == expected


def test_reductions_stay_in_16_bits(make_job: Any) -> None:
    moved = layer_price(on_blackwell(make_job, "fp8"), tp=8, sp=True).transfers
    scattered = [float(t.nbytes[0]) for t in moved if t.exchange.collective == "reduce_scatter"]
    assert scattered == [2.0 * STREAM] * 4


@pytest.mark.parametrize(("recipe", "width"), [("tensorwise", 1.0), ("rowwise", 2.0)])
def test_torchtitan_gathers_as_cast_with_one_scale_per_tensor(
    make_job: Any, recipe: str, width: float
) -> None:
    """Scales of rows would have to travel too (Float8ColwiseParallel of pytorch/ao); nothing is gathered again."""
    job = replace(on_blackwell(make_job, "fp8", fp8_recipe=recipe), framework=load_framework("torchtitan"))
    assert gathers(job) == {("forward", width): 2, ("backward", width): 2}


@pytest.mark.parametrize(
    ("accelerator", "precision", "recipe", "nbytes"),
    [
        ("h100-sxm-80gb", "fp8", "delayed", 2 + 1 + 1),
        ("h100-sxm-80gb", "fp8", "tensorwise", 2 + 2 + 1 + 1),
        ("gb200-nvl72", "fp8", "delayed", 2 + 1),
        ("gb200-nvl72", "fp8", "tensorwise", 2 + 2 + 1),
        ("gb200-nvl72", "mxfp8", None, 2 + 2 * (1 + 1 / 32)),
        ("gb200-nvl72", "nvfp4", None, 2 + 2 + 2 * (1 / 2 + 1 / 16)),
    ],
)
def test_bytes_of_a_cast(accelerator: str, precision: str, recipe: str | None, nbytes: float) -> None:
    """16 bits read, and read for the scale; a transpose on Hopper, whose matmuls read along the contraction only; two
    directions of block scales."""
    device = load_accelerator(accelerator)
    elements = 1e9
    rate = device.memory_bandwidth * device.kernels.memory_efficiency
    seconds = cast_seconds(np.array([elements]), device, precision, recipe)[0]
    assert seconds == pytest.approx(nbytes * device.kernels.cast_factor * elements / rate)


def test_a_transfer_hides_behind_its_own_products_only(make_job: Any) -> None:
    """With products that take no time nothing of the gathers and scatters is hidden, however long attention lasts."""
    job = on_blackwell(make_job, "bf16", overlap={})
    kernels = job.cluster.accelerator.kernels
    quick = replace(job.cluster.accelerator, peak_flops={"bf16": 1e25}, memory_bandwidth=1e25)
    quick = replace(quick, kernels=replace(kernels, launch_s=0.0, attention_forward={"cudnn": 1e-13}))
    job = replace(job, cluster=replace(job.cluster, accelerator=quick))
    price = layer_price(job, tp=8, sp=True)
    moved = sum(float(t.seconds[0]) for t in price.transfers if t.exchange.pass_ == "forward")
    assert price.forward.compute_s[0] > moved
    assert price.forward.exposed["tp"][0] == pytest.approx(moved, rel=1e-6)


def test_a_transfer_hides_by_its_share_where_its_products_are_long(make_job: Any) -> None:
    job = on_blackwell(make_job, "bf16")
    slow = replace(job.cluster.accelerator, peak_flops={"bf16": 1e12})
    job = replace(job, cluster=replace(job.cluster, accelerator=slow))
    price = layer_price(job, tp=8, sp=True)
    moved = sum(float(t.seconds[0]) for t in price.transfers if t.exchange.pass_ == "forward")
    assert price.forward.exposed["tp"][0] == pytest.approx((1.0 - job.framework.hidden.tp) * moved)
