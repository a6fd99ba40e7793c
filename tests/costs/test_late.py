"""Launches and the device hide each other with a rounded corner; eager ranks wait for each other at collectives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.host import collective_launches_s
from planner.costs.late import late_launches
from planner.costs.prices import price_model
from planner.costs.sizes import Sizes
from planner.costs.transfers import Transfer
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from tests.costs.samples import DENSE

MS = 1e-3


def test_the_longer_of_host_and_device_leads_and_the_corner_is_rounded() -> None:
    device = np.array([0.0, 3.0, 4.0, 100.0]) * MS
    host = np.array([3.0, 0.0, 3.0, 1.0]) * MS
    # 3-4-5 triangle: 4 ms of kernels with 3 ms of launches take 5 ms
    assert late_launches(device, host) / MS == pytest.approx([3.0, 0.0, 1.0, 0.005], abs=1e-3)


# One layer, forward and backward, in ms: VIA-Research/vTrain data/ground_truth_single.csv, A100, width 1024, 16 heads, 1,024
# tokens, no tensor parallelism; slopes of the published step times over layers.
MEASURED_MS = {1: 3.00, 2: 3.16, 4: 4.94, 8: 8.00}


def test_layer_times_over_micro_batches_round_the_corner() -> None:
    """Host time as the smallest micro-batch shows it, device time in proportion as the largest does."""
    host = MEASURED_MS[1] * 0.95
    device = {n: n / 8 * math.sqrt(MEASURED_MS[8] ** 2 - host**2) for n in MEASURED_MS}
    for n, measured in MEASURED_MS.items():
        took = device[n] + float(late_launches(np.array([device[n]]), np.array([host]))[0])
        assert took == pytest.approx(measured, rel=0.12)
    # a sharp corner misses the middle by a fifth
    assert max(device[4], host) < 0.8 * MEASURED_MS[4]


def _launching(job: Job, layout: Layout) -> tuple[Sizes, tuple[Transfer, ...]]:
    """Local sizes of a layer and its transfers."""
    rows = from_layouts([layout])
    name, block = next((name, block) for name, block in job.model.blocks.items() if block.kind == "layer")
    return Sizes(rows, job, block), price_model(job, rows).blocks[name][-1].transfers


def _with_host(job: Job, **seconds: float) -> Job:
    host = job.framework.host.model_copy(update=seconds)
    return replace(job, framework=job.framework.model_copy(update={"host": host}))


def _waits(job: Job, tp: int) -> float:
    layout = Layout(tp=tp, dp=8 // tp, micro_batch=1)
    prices = price_model(job, from_layouts([layout]))
    layer = next(name for name, block in job.model.blocks.items() if block.kind == "layer")
    return float(prices.blocks[layer][-1].forward.host_s[0])


def test_collectives_wait_longer_the_more_ranks_meet(make_job: Any) -> None:
    job = make_job(DENSE, devices=8)
    eager = _with_host(job, forward_operator_s=0.0, backward_operator_s=0.0, collective_s=1.0)
    two, eight = _waits(eager, 2), _waits(eager, 8)
    # one doubling against three, by far longer than the kernels; calls per layer are the same
    assert two > 0.0
    assert eight == pytest.approx(3.0 * two, rel=0.01)
    captured = replace(eager, training=replace(eager.training, capture=True))
    assert _waits(captured, 8) == 0.0


@pytest.mark.parametrize(("tp", "calls"), [(1, 0), (2, 2), (8, 2)])
def test_every_call_of_a_collective_is_launched(make_job: Any, tp: int, calls: int) -> None:
    """Two all-reduces a pass, by hand: 2 x forward host time, or backward's; one graph of the iteration launches nothing."""
    job = _with_host(make_job(DENSE, devices=8), forward_operator_s=3.0, backward_operator_s=5.0)
    captured = replace(job, training=replace(job.training, capture=True))
    for one, of_each in ((job, 1.0), (captured, 0.0)):
        sizes, transfers = _launching(one, Layout(tp=tp, dp=8 // tp, micro_batch=1))
        for pass_, seconds in (("forward", 3.0), ("backward", 5.0)):
            moved = [transfer for transfer in transfers if transfer.exchange.pass_ == pass_]
            assert collective_launches_s(sizes, moved) == pytest.approx([of_each * calls * seconds])


def test_collectives_inside_a_captured_part_are_not_launched(make_job: Any) -> None:
    """Graphs of attention take one of the two all-reduces of a pass with them."""
    job = _with_host(make_job(DENSE, devices=8), forward_operator_s=3.0)
    job = replace(job, training=replace(job.training, capture=("attn",)))
    sizes, transfers = _launching(job, Layout(tp=8, micro_batch=1))
    moved = [transfer for transfer in transfers if transfer.exchange.pass_ == "forward"]
    assert collective_launches_s(sizes, moved) == pytest.approx([3.0])


def test_a_core_that_moves_messages_itself_launches_no_collective(make_job: Any) -> None:
    """Its collectives are timed from the call to the return."""
    job = make_job(DENSE, devices=8, framework="megatron-core")
    sizes, transfers = _launching(job, Layout(tp=8, micro_batch=1))
    core = replace(job.cluster.accelerator, architecture="cpu")
    on_cores = replace(job, cluster=replace(job.cluster, accelerator=core))
    assert collective_launches_s(sizes, transfers)[0] > 0.0
    assert collective_launches_s(replace(sizes, job=on_cores), transfers) == pytest.approx([0.0])


def test_launches_that_block_add_up_with_the_device(make_job: Any) -> None:
    """The host's time comes on top whatever the device does: as much for eight sequences as for one."""
    job = make_job(DENSE, devices=1, framework="megatron-core")
    blocking = replace(job, training=replace(job.training, launch_blocking=True))

    def waits(one: Job, micro_batch: int) -> float:
        prices = price_model(one, from_layouts([Layout(micro_batch=micro_batch)]))
        layer = next(name for name, block in one.model.blocks.items() if block.kind == "layer")
        return float(prices.blocks[layer][-1].forward.host_s[0])

    assert waits(blocking, 8) == pytest.approx(waits(blocking, 1))
    assert waits(job, 8) < waits(job, 1) < waits(blocking, 1)
