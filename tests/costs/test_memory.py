"""Peak memory: what is alive per pipeline rank, what offload leaves on the device, when a layout fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.memory import stage_memory
from planner.costs.predict import predict
from planner.costs.prices import price_model
from planner.costs.stages import stage_groups
from planner.jobs.prediction import Prediction
from planner.layouts.knobs import parse_layout
from planner.layouts.layouts import from_layouts
from tests.costs.samples import DENSE

UNTIED = DENSE | {"tied_embeddings": False}
LAYER = 1024 * (1024 + 2 * 256 + 1024) + 3 * 1024 * 4096 + 2 * 1024
"""Elements of a layer: q, k and v (4 of 16 heads), output, three MLP matrices, two norms."""
TABLE = 32000 * 1024


def predicted(make_job: Any, knobs: str, **options: Any) -> Prediction:
    job = make_job(UNTIED, global_batch=64, **options)
    return predict(job, parse_layout(knobs, job))


def test_states_of_one_rank_by_hand(make_job: Any) -> None:
    """8 layers, two tables, the last norm over tp = 8; norms whole; 4 KV heads: each rank holds one of them."""
    memory = predicted(make_job, "tp=8,sp=true").memory.by_class
    elements = 2 * TABLE / 8 + 8 * ((LAYER - 2 * 1024 - 512 * 1024) / 8 + 512 * 1024 / 4 + 2 * 1024) + 1024
    law = make_job(UNTIED).framework.state_law("bf16")
    assert memory["parameters"] == pytest.approx(law.parameters * elements)


@pytest.mark.parametrize("micro_batches", [1, 2, 3, 8])
def test_1f1b_holds_fewer_micro_batches_on_later_ranks(make_job: Any, micro_batches: int) -> None:
    """min(p - r, m) micro-batches of two layers each on the inner ranks 1 and 2 of 4."""
    job = make_job(UNTIED, devices=4, global_batch=micro_batches)
    ranks = predict(job, parse_layout("pp=4,dp=1", job)).ranks
    held = [rank.memory.by_class["activations"] for rank in ranks]
    assert held[1] / held[2] == pytest.approx(min(3, micro_batches) / min(2, micro_batches))


def test_gpipe_holds_every_micro_batch(make_job: Any) -> None:
    job = make_job(UNTIED, devices=4, global_batch=8)
    one, all_ = (
        predict(job, parse_layout(f"pp=4,dp=1,schedule={name}", job)).ranks[2].memory.by_class["activations"]
        for name in ("1f1b", "gpipe")
    )
    assert all_ / one == pytest.approx(8 / 2)


def test_offloaded_optimizer_leaves_the_device(make_job: Any) -> None:
    kept = predicted(make_job, "zero_stage=1").memory.by_class
    half = predicted(
        make_job, "zero_stage=1,offload={optimizer: {tier: host, fraction: 0.5}}"
    ).memory.by_class
    gone = predicted(make_job, "zero_stage=1,offload={optimizer: host}").memory.by_class
    assert half["optimizer"] == pytest.approx(kept["optimizer"] / 2)
    assert gone["optimizer"] == 0.0
    assert gone["parameters"] == kept["parameters"]


def test_fits_counts_the_reserve_exactly(make_job: Any) -> None:
    """used + reserve x capacity <= capacity: with a tenth reserved, capacity must be used / 0.9."""
    job = make_job(UNTIED, global_batch=64, memory_reserve=0.1)
    layout = parse_layout("zero_stage=1", job)
    used = predict(job, layout).memory.device_used_bytes
    for share, expected in ((1.0001, True), (0.9999, False)):
        accelerator = replace(job.cluster.accelerator, memory_bytes=used / 0.9 * share)
        changed = replace(job, cluster=replace(job.cluster, accelerator=accelerator))
        assert predict(changed, layout).memory.fits is expected


def test_zero_one_of_deepspeed_in_fp16(make_job: Any) -> None:
    """12 / n bytes of fp32 weights and moments per parameter; 6 / n more, flat gradients, while the shard is updated."""
    job = make_job(UNTIED, global_batch=64, framework="deepspeed", training={"precision": "fp16"})
    rows = from_layouts([parse_layout("zero_stage=1,micro_batch=1,recompute=full", job)])
    (group,) = stage_groups(rows, job.model)
    memory = stage_memory(job, rows, price_model(job, rows).rows(rows), group.classes[0])
    elements = float(memory.states.dense_elements[0])
    assert float(memory.states.optimizer[0]) == pytest.approx(12 * elements / 8)
    assert float(memory.alive[2]["optimizer_transient"][0]) == pytest.approx(6 * elements / 8)
    assert float(memory.between_steps[0]) == pytest.approx((2 + 12 / 8) * elements)


def test_the_flat_copies_of_an_update_are_held_beside_the_passes_until_memory_runs_out(make_job: Any) -> None:
    """No block of the passes holds a tensor as long as the shard: the allocator asks the driver for more."""
    job = make_job(UNTIED, global_batch=64, framework="deepspeed", training={"precision": "fp16"})
    layout = parse_layout("zero_stage=1,micro_batch=1,recompute=full", job)
    rows = from_layouts([layout])
    (group,) = stage_groups(rows, job.model)
    memory = stage_memory(job, rows, price_model(job, rows).rows(rows), group.classes[0])
    buffers = job.framework.buffers
    copies = 6 * float(memory.states.dense_elements[0]) / 8
    passes = max(sum(float(part[0]) for part in memory.alive[place].values()) for place in (0, 1, 3))
    expected = passes * (1 + buffers.reserved_share) + copies
    assert float(memory.reserved[0]) == pytest.approx(expected)
    assert predict(job, layout).memory.reserved_bytes == pytest.approx(expected)
    tight = replace(job.cluster.accelerator, memory_bytes=expected + buffers.context_bytes - copies / 2)
    small = replace(job, cluster=replace(job.cluster, accelerator=tight))
    assert predict(small, layout).memory.device_used_bytes == pytest.approx(tight.memory_bytes)


def test_buckets_are_no_larger_than_the_gradients(make_job: Any) -> None:
    """A bucket of 1 GB, or the gradients, reduced in fp32, of a rank that has fewer: nothing overlaps their reduction."""
    buckets = []
    for knobs in ("zero_stage=1", "zero_stage=1,tp=8,dp=1", "zero_stage=1,tp=4,dp=2"):
        job = make_job(
            UNTIED, global_batch=64, framework="megatron-deepspeed", training={"precision": "bf16"}
        )
        memory = predict(job, parse_layout(f"{knobs},micro_batch=1", job)).memory
        parameters = memory.by_class["parameters"]  # in 16 bits
        buckets.append((memory.by_class["communication_buffers"], min(1e9, 2 * parameters)))
    assert buckets[0][0] == pytest.approx(buckets[0][1])
    assert buckets[1][0] == 0.0
    assert buckets[2][0] == pytest.approx(buckets[2][1])
