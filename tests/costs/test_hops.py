"""Hops that fill their links: by hand, and against event simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Schedule
from planner.simulator.simulation import simulate

MakeJob = Callable[..., Job]

MODEL = {"layers": 8, "hidden": 1024, "heads": 8, "ffn_hidden": 4096, "vocab": 64}
HOP_BYTES = 2048 * 1024 * 2
"""bf16 residual stream of one sequence of 2,048 tokens."""


def slow_pipeline(
    make_job: MakeJob, ranks: int, micro_batches: int, bandwidth: float, hidden: float = 0.0
) -> Job:
    """One device per node; the network passes that many bytes/s, each message 30 ms late."""
    job = make_job(MODEL, ranks, micro_batches, 2048, per_node=1, training={"overlap": {"pp": hidden}})
    level = replace(job.cluster.network[-1], bandwidth=bandwidth, latency_s=0.03, efficiency=1.0)
    return replace(job, cluster=replace(job.cluster, network=(*job.cluster.network[:-1], level)))


# Of two ranks each sends forward or back once (between chunks too); a middle rank sends both ways for each chunk; where
# all forward passes come first, both directions take turns.
FULL = [
    ("1f1b", 2, 1, 1),
    ("gpipe", 2, 1, 2),
    ("interleaved_1f1b", 2, 2, 3),
    ("zb_v", 2, 2, 2),
    ("1f1b", 4, 1, 2),
    ("eager_1f1b", 4, 1, 2),
    ("gpipe", 4, 1, 2),
    ("interleaved_1f1b", 4, 2, 4),
    ("looped_bfs", 4, 2, 4),
    ("1f1b", 8, 1, 2),
]


@pytest.mark.parametrize(("schedule", "ranks", "chunks", "messages"), FULL)
def test_a_pipeline_lasts_as_long_as_its_fullest_link(
    make_job: MakeJob, schedule: Schedule, ranks: int, chunks: int, messages: int
) -> None:
    m, rate = 8 * ranks, 5e6
    job = slow_pipeline(make_job, ranks, m, rate, hidden=0.5)
    layout = Layout(pp=ranks, vpp=chunks, schedule=schedule, micro_batches=m)
    seconds = predict(job, layout).step_time_s
    # The first message reaches the rank that sends most after ranks - 2 hops, of which half is waited for, and its last
    # one needs as many to rank 0.
    way = 2 * (ranks - 2) * 0.5 * (HOP_BYTES / rate + 0.03)
    optimizer = 0.01
    assert seconds == pytest.approx(messages * m * HOP_BYTES / rate + way, abs=optimizer)
    assert seconds == pytest.approx(simulate(job, layout).step_time_s, rel=0.08)


def test_hiding_hops_never_slows_a_full_link_down(make_job: MakeJob) -> None:
    layout = Layout(pp=8, schedule="gpipe", micro_batches=64)
    steps = [
        simulate(slow_pipeline(make_job, 8, 64, 5e6, hidden=share), layout).step_time_s
        for share in (0.0, 0.25, 0.5, 1.0)
    ]
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] >= 2 * 64 * HOP_BYTES / 5e6


# Of 30 ms each: there and back over three hops; with two chunks through all eight virtual stages.
@pytest.mark.parametrize(("chunks", "hops"), [(1, 6), (2, 14)])
def test_short_hops_cost_their_latency_only(make_job: MakeJob, chunks: int, hops: int) -> None:
    fast, faster = (slow_pipeline(make_job, 4, 32, rate) for rate in (1e14, 2e14))
    schedule: Schedule = "interleaved_1f1b" if chunks > 1 else "gpipe"
    layout = Layout(pp=4, vpp=chunks, schedule=schedule, micro_batches=32)
    exposed = predict(fast, layout).time.exposed["pp"]
    assert exposed == pytest.approx(hops * 0.03, rel=1e-3)
    assert predict(faster, layout).time.exposed["pp"] == pytest.approx(exposed, rel=1e-3)


@pytest.mark.parametrize(
    ("framework", "sp", "parts"),
    [("ideal", False, 1), ("megatron-lm", False, 4), ("megatron-lm", True, 4), ("megatron-core", True, 4)],
)
def test_ranks_that_hold_the_same_stream_send_a_part_each(
    make_job: MakeJob, framework: str, sp: bool, parts: int
) -> None:
    """b s h on every tp rank, or b s h / t with scatter/gather (arXiv 2104.04473, section 4.1) or sequence parallelism."""
    job = make_job(MODEL, 8, 8, 2048, framework=framework)
    found = predict(job, Layout(tp=4, sp=sp, pp=2, micro_batches=8))
    sent = {row.bytes_per_call for row in found.communication if row.axis == "pp"}
    assert sent == {HOP_BYTES / parts}


@pytest.mark.parametrize(
    ("ranks", "chunks", "micro_batches"), [(2, 2, 8), (2, 4, 16), (4, 2, 16), (4, 2, 32)]
)
def test_blocking_hops_are_waited_for_after_every_pass(
    make_job: MakeJob, ranks: int, chunks: int, micro_batches: int
) -> None:
    """A middle rank waits for 2 v messages of 30 ms per micro-batch, one of two ranks for 2 v - 1, and 2 (p - 1) fill and drain
    the pipeline; a job that states what of its hops is hidden does not block."""
    stated = slow_pipeline(make_job, ranks, micro_batches, 1e14)
    blocking = stated.framework.model_copy(update={"blocking_hops": True})
    job = replace(stated, framework=blocking, training=replace(stated.training, overlap={}))
    layout = Layout(pp=ranks, vpp=chunks, schedule="interleaved_1f1b", micro_batches=micro_batches)
    exposed = predict(job, layout).time.exposed["pp"]
    sent = micro_batches * (2 * chunks - (ranks == 2))
    assert exposed == pytest.approx((sent + 2 * (ranks - 1)) * 0.03, rel=1e-3)
    assert predict(job, layout).step_time_s == pytest.approx(simulate(job, layout).step_time_s, rel=0.06)
    free = replace(stated, framework=blocking)
    assert predict(free, layout).time.exposed["pp"] == pytest.approx(
        2 * (ranks * chunks - 1) * 0.03, rel=1e-3
    )
