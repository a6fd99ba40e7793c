"""Published figures that need neither hardware nor calibration, through the operator list and the job's knobs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from planner.costs.collectives import collective_cost
from planner.costs.convention import model_flops
from planner.costs.evaluate import step_times
from planner.costs.operators import operator_cost
from planner.costs.pipeline import in_flight
from planner.costs.predict import predict
from planner.costs.prices import price_model
from planner.costs.sizes import Sizes
from planner.jobs.prediction import Prediction
from planner.jobs.types import MoeOptions
from planner.layouts.layout import SCHEDULES, Layout, Recompute, Shard
from planner.layouts.layouts import from_layouts
from planner.layouts.legality import check
from planner.layouts.mesh import spread
from planner.layouts.sharding import Pattern, derive
from planner.models.catalogue import load_model

GB, GIB = 1e9, 2**30

# 36 layers x 12 h^2 + 61,583 x 4096 = 7,500,001,280 parameters, no norms or biases
ZERO_7_5B = {
    "layers": 36,
    "hidden": 4096,
    "heads": 32,
    "ffn_hidden": 16384,
    "vocab": 61583,
    "norm": "none",
    "positions": "none",
    "tied_embeddings": True,
}


def states_gb(prediction: Prediction) -> float:
    classes = prediction.memory.by_class
    return (classes["parameters"] + classes["gradients"] + classes["optimizer"]) / GB


@pytest.mark.parametrize(
    ("shard", "expected"),
    [
        (Shard(), 120.0),
        (Shard(optimizer=64), 31.4),
        (Shard(optimizer=64, gradients=64), 16.6),
        (Shard(optimizer=64, gradients=64, parameters=64), 1.9),
    ],
)
def test_zero_states_of_7_5b_on_64_ranks(make_job: Any, shard: Shard, expected: float) -> None:
    """ZeRO (arXiv 1910.02054, figure 1): 2-byte weights and gradients, 12 bytes of Adam state (the ideal profile)."""
    job = make_job(ZERO_7_5B, devices=64, global_batch=64)
    prediction = predict(job, Layout(dp=64, shard=shard))
    assert round(states_gb(prediction), 1) == expected


@pytest.mark.parametrize(
    ("shard", "volume"), [(Shard(), 2), (Shard(1, 1, 64), 2), (Shard(1, 64, 64), 2), (Shard(64, 64, 64), 3)]
)
def test_zero_volume_in_parameters(make_job: Any, shard: Shard, volume: int) -> None:
    """2 psi elements sent for DP and stages 1-2, 3 psi for stage 3, times (N - 1) / N (arXiv 1910.02054, section 7)."""
    job = make_job(ZERO_7_5B, devices=64, global_batch=64)
    rows = predict(job, Layout(dp=64, shard=shard)).communication
    halves = {"all_reduce": 2, "reduce_scatter": 1, "all_gather": 1}
    elements = sum(
        halves[r.collective] * r.bytes_per_call * r.calls_per_step / 2 for r in rows if r.axis == "dp"
    )
    assert elements == pytest.approx(volume * job.model.parameter_count, rel=1e-9)


GPT_175B = {
    "layers": 96,
    "hidden": 12288,
    "heads": 96,
    "ffn_hidden": 49152,
    "vocab": 51200,
    "norm": "none",
    "positions": "none",
}
"""Layers of GPT-3 with 12 h^2 weights each: neither norms nor biases nor positions."""

KORTHIKANTI = {"attention": "unfused", "dropout": 0.1, "precision": "bf16"}


def layer_gib(job: Any, layout: Layout, policy: Recompute) -> float:
    """Saved bytes of the fullest rank's layers: first rank, all chunks, micro-batches in flight."""
    row = from_layouts([dataclasses.replace(layout, recompute=policy)])
    prices = price_model(job, row)
    layer = job.model.layer_order[0]
    saved = float(prices.rows(row).get(layer, "saved", recomputed=True)[0])
    c = row.columns
    flight = float(in_flight(c["schedule"], c["pp"], c["vpp"], c["micro_batches"], 0)[0])
    return saved * job.model.layers / layout.pp * flight / GIB


def test_korthikanti_175b(make_job: Any) -> None:
    """arXiv 2205.05198, figures 1 and 7, tp 8, pp 8, v 3, micro-batch 1, unfused attention and dropout masks.

    The paper's formula counts the layers' norms as saving their inputs; here ``norm`` is parameter-free but present.
    """
    model = GPT_175B | {"norm": "layer"}
    job = make_job(model, devices=64, global_batch=64, framework="megatron-lm", training=KORTHIKANTI)
    layout = Layout(tp=8, sp=True, pp=8, vpp=3, schedule="interleaved_1f1b", micro_batches=64)
    assert layer_gib(job, layout, Recompute("selective", ("core_attention",))) == pytest.approx(
        12.3516, abs=5e-5
    )
    without_sp = dataclasses.replace(layout, sp=False)
    # sbh (10 + 24 / t + 5 a s / (h t)) without sequence parallelism: none kept back
    assert layer_gib(job, without_sp, Recompute()) == pytest.approx(66.84375, rel=1e-6)
    # full recompute keeps 2 sbh per layer, not divided by t
    full = 2 * 2048 * 12288 * 96 * (1 + 7 / 24) / GIB
    assert layer_gib(job, without_sp, Recompute("full")) == pytest.approx(full, rel=1e-9)


def test_korthikanti_175b_states(make_job: Any) -> None:
    """18 bytes (fp32 gradients) of 12 L h^2 / (t p) parameters: a rank without embedding or head."""
    job = make_job(GPT_175B, devices=64, global_batch=64, framework="megatron-lm", training=KORTHIKANTI)
    layout = Layout(tp=8, sp=True, pp=8, vpp=3, schedule="interleaved_1f1b", micro_batches=64)
    middle = predict(job, layout).ranks[3].memory.by_class
    states = middle["parameters"] + middle["gradients"] + middle["optimizer"]
    assert states / GIB == pytest.approx(45.5625, rel=1e-12)


def test_contiguous_causal_ring_of_8_reaches_53_percent(make_job: Any) -> None:
    """c / (2c - 1): 66.7, 57.1, 53.3, 51.6 %; ring-flash-attention's README reports 51.4-53.9 % at c = 8."""
    for degree, expected in ((2, 66.7), (4, 57.1), (8, 53.3), (16, 51.6)):
        seconds = {}
        for balance in ("zigzag", "contiguous"):
            job = make_job("llama3-8b", devices=degree, seq_len=2**20, training={"cp_balance": balance})
            block = job.model.blocks[job.model.layer_order[0]]
            sizes = Sizes(from_layouts([Layout(ring=degree)]), job, block)
            attention = next(o for o in block.operators if o.kind == "attention")
            seconds[balance] = operator_cost(
                attention, block, derive(block, Pattern(ring=True)), sizes
            ).forward_s[0]
        assert 100 * seconds["zigzag"] / seconds["contiguous"] == pytest.approx(expected, abs=0.5)


def test_gpipe_scaling_from_two_to_eight_cells(make_job: Any) -> None:
    """(M + K - 1) / K: K = 8 over K = 2 at M = 32 is 3.385 (published 3.50 on TPU, 3.3 on P100; arXiv 1811.06965)."""
    model = {"layers": 64, "hidden": 8192, "heads": 64, "ffn_hidden": 32768, "vocab": 64, "norm": "none"}
    times = {}
    for cells in (2, 8):
        job = make_job(model, devices=cells, global_batch=32, seq_len=2048)
        layout = Layout(pp=cells, schedule="gpipe", micro_batches=32)
        times[cells] = float(step_times(job, from_layouts([layout]))[0])
    assert times[2] / times[8] == pytest.approx(3.385, rel=0.01)


def test_folding_allows_wider_expert_groups(make_job: Any) -> None:
    """Megatron-Core MoE README: tp 4, cp 2, dp 8, pp 4 allows ep 8 unfolded and 64 folded; cp 8 with ep 8 on 8 devices."""
    model = {"layers": 4, "hidden": 1024, "heads": 32, "ffn_hidden": 4096, "gated_mlp": True, "vocab": 32000}
    model |= {"moe": {"experts": 64, "topk": 8, "moe_ffn": 512}}

    def legal(framework: str, devices: int, layout: Layout) -> bool:
        return not check(make_job(model, devices=devices, global_batch=64, framework=framework), layout)

    base = Layout(tp=4, sp=True, ulysses=2, dp=8, pp=4, micro_batches=8)
    folded = dataclasses.replace(base, ep=64)
    assert folded.edp == 1
    assert legal("ideal", 256, folded)
    assert not legal("ideal", 256, dataclasses.replace(base, ep=128))
    assert not legal("internevo", 256, dataclasses.replace(folded, etp=4, ep=64))
    assert legal("internevo", 256, dataclasses.replace(base, etp=4, ep=8))
    assert legal("ideal", 8, Layout(ulysses=8, ep=8, micro_batches=64))
    assert not legal("internevo", 8, Layout(ulysses=8, ep=8, micro_batches=64))
    assert legal("internevo", 64, Layout(ulysses=8, dp=8, ep=8, micro_batches=8))


def cross_node_volume(prediction: Prediction) -> float:
    """Bytes per step of gathers and reductions whose group spans nodes (size of the buffers, as the paper counts)."""
    return sum(
        r.bytes_per_call * r.calls_per_step
        for r in prediction.communication
        if r.axis == "dp" and r.ranks_per_level[-1] > 1
    )


def test_zero_plus_plus_cross_node_volume(make_job: Any) -> None:
    """arXiv 2306.10209, table 1: 3M of ZeRO-3 becomes 0.75M with qwZ (int8), hpZ (node) and qgZ (int4); M = 2 psi bytes."""
    plain = make_job(ZERO_7_5B, devices=64, global_batch=64)
    size = 2.0 * plain.model.parameter_count
    full = Shard(64, 64, 64)
    assert cross_node_volume(predict(plain, Layout(dp=64, shard=full))) == pytest.approx(3 * size)
    training = {"parameter_gather_bytes": 1.0, "gradient_reduce_bytes": 0.5}
    quantised = make_job(ZERO_7_5B, devices=64, global_batch=64, training=training)
    layout = Layout(dp=64, shard=dataclasses.replace(full, parameters_secondary=8))
    assert cross_node_volume(predict(quantised, layout)) == pytest.approx(0.75 * size)


def test_two_hops_send_one_part_in_n_across_nodes(make_job: Any) -> None:
    """qgZ: one-hop all-to-all sends M N / Z across nodes, reducing inside the node first M / Z (N = 8 devices a node)."""
    cluster = make_job("llama3-8b", devices=64).cluster
    reach, size = spread(64, 1, cluster), np.array([1e9])
    one = collective_cost("all_to_all", size, reach, cluster, algorithm="linear").bytes_per_level[0, -1]
    two = collective_cost("reduce_scatter", size, reach, cluster, algorithm="hierarchical").bytes_per_level[
        0, -1
    ]
    assert one / two == pytest.approx(8.0)


SC21 = {
    "megatron-1.7b": 1.7, "megatron-3.6b": 3.6, "megatron-7.5b": 7.5, "megatron-18b": 18.4, "megatron-39b": 39.1,
    "megatron-76b": 76.1, "megatron-145b": 145.6, "megatron-310b": 310.1, "megatron-530b": 529.6, "megatron-1t": 1008.0,
}  # fmt: skip


@pytest.mark.parametrize("name", SC21)
def test_sc21_parameter_counts(name: str) -> None:
    """Table 1 of arXiv 2104.04473, to 0.1 B."""
    assert abs(load_model(name)[1].parameter_count / 1e9 - SC21[name]) <= 0.1


@pytest.mark.parametrize(
    ("devices", "batch", "seconds", "percent"), [(280, 280, 37.83, 56.0), (2240, 2240, 39.1, 54.2)]
)
def test_530b_utilisation(make_job: Any, devices: int, batch: int, seconds: float, percent: float) -> None:
    """arXiv 2205.05198, table 5 and abstract: 312 TFLOP/s peak, the full attention square."""
    job = make_job("megatron-530b", devices=devices, global_batch=batch)
    assert 100 * model_flops(job, "full_square") / (devices * 312e12 * seconds) == pytest.approx(
        percent, abs=0.15
    )


MEGASCALE = [
    (256, 768, 40.0, 53.0), (512, 768, 21.2, 50.0), (768, 768, 15.2, 46.5), (1024, 768, 11.9, 44.6),
    (3072, 6144, 29.02, 48.7), (6144, 6144, 14.78, 47.8), (8192, 6144, 12.24, 43.3), (12288, 6144, 8.57, 41.3),
]  # fmt: skip


@pytest.mark.parametrize(("devices", "batch", "seconds", "percent"), MEGASCALE)
def test_megascale_baseline_utilisation(
    make_job: Any, devices: int, batch: int, seconds: float, percent: float
) -> None:
    """arXiv 2402.15627, table 2, Megatron-LM rows: 96 layers, hidden 12288, vocabulary 64,000, sequence 2048."""
    model = GPT_175B | {"vocab": 64000}
    job = make_job(model, devices=8, global_batch=batch)
    assert 100 * model_flops(job, "full_square") / (devices * 312e12 * seconds) == pytest.approx(
        percent, abs=0.2
    )


def test_usp_degrees_against_kv_heads(make_job: Any) -> None:
    """arXiv 2405.07719: with 8 KV heads Ulysses 8 x ring 2 is legal; Ulysses 16, or tp 8 x Ulysses 2, is not."""
    job = make_job("llama3-8b", devices=16, global_batch=1, seq_len=65536)
    assert not check(job, Layout(ulysses=8, ring=2))
    assert check(job, Layout(ulysses=16))
    assert check(job, Layout(tp=8, sp=True, ulysses=2))


def test_dense_dispatch_memory_grows_with_the_square_of_tokens(make_job: Any) -> None:
    """Tutel (arXiv 2206.03382), Fairseq's GiB per layer at 4K / 8K / 16K / 32K tokens: about 54 bytes x T^2 between them."""
    published = {8192: 6.2, 16384: 16.3, 32768: 57.9}
    model = {"layers": 1, "hidden": 4096, "heads": 32, "ffn_hidden": 4096, "vocab": 32000}
    model |= {"moe": {"experts": 2, "topk": 2, "moe_ffn": 4096}}
    saved = {}
    for tokens in published:
        options = {"moe": MoeOptions(capacity_factor=1.0, dispatcher="dense")}
        job = make_job(model, devices=1, seq_len=tokens, training=options)
        plain = make_job(model, devices=1, seq_len=tokens, training={"moe": MoeOptions(capacity_factor=1.0)})
        row = from_layouts([Layout()])
        layer = job.model.layer_order[0]
        both = [price_model(j, row).rows(row).get(layer, "saved", recomputed=False)[0] for j in (job, plain)]
        saved[tokens] = both[0] - both[1]
    for small, large in ((8192, 16384), (16384, 32768)):
        linear = 108e3 * (large - small)  # what sparse dispatch takes per token at these sizes
        difference = saved[large] - saved[small] + linear
        assert difference == pytest.approx((published[large] - published[small]) * GIB, rel=0.10)


SINGLE_CHUNK = ("gpipe", "1f1b", "eager_1f1b", "zb_h1", "zb_h2", "dualpipe", "seq1f1b")


def test_closed_forms_name_every_schedule_they_price(make_job: Any) -> None:
    """A schedule is either priced or refused by name."""
    model = {"layers": 8, "hidden": 512, "heads": 8, "ffn_hidden": 2048, "vocab": 1024}
    job = make_job(model, devices=2, global_batch=8, seq_len=512)
    for name in SCHEDULES:
        chunks = 1 if name in SINGLE_CHUNK else 2
        layout = Layout(pp=2, vpp=chunks, schedule=name, micro_batches=8)
        if name in ("v_half", "v_min", "wave", "seq1f1b", "csv"):
            with pytest.raises(Exception, match="event simulation"):
                predict(job, layout)
        else:
            assert predict(job, layout).step_time_s > 0
