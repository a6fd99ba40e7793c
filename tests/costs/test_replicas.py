"""Collectives that a sharding of states implies, with bytes by hand; state bytes of ZeRO, HSDP and hpZ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.offload import tier_rates
from planner.costs.overlap import Chunks, Traffic, exposed_traffic
from planner.costs.pipeline import passes_left
from planner.costs.replicas import replica_flows
from planner.costs.shard_units import Part, StageParts
from planner.costs.states import gradient_bytes, optimizer_bytes, shard_groups, state_bytes, tier_fraction
from planner.hardware.types import Host
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import from_layouts
from tests.costs.samples import DENSE, MOE

ELEMENTS = 64e6
LAYERS = 8


def parts(dense: float = 0.0, expert: float = 0.0) -> StageParts:
    """Elements in equal layers."""
    return StageParts((Part(np.array([dense]), LAYERS),), (Part(np.array([expert]), LAYERS),))


def flows(make_job: Any, knobs: str) -> dict[tuple[str, str], tuple[int, float]]:
    """(occasion, collective) -> (ranks, bytes of all calls) of 64M dense elements in 8 layers on 16 devices."""
    job = make_job(DENSE, devices=16, global_batch=64)
    row = from_layouts([parse_layout(knobs, job)])
    found = replica_flows(job, row, shard_groups(row), parts(dense=ELEMENTS))
    return {
        (f.occasion, f.collective): (int(f.ranks[0]), float((f.nbytes * f.calls)[0]))
        for f in found
        if f.nbytes[0] > 0
    }


def widths(make_job: Any) -> tuple[float, float]:
    """(bytes of a gradient on the wire, bytes of a gathered parameter)."""
    job = make_job(DENSE, devices=16)
    return gradient_bytes(job)[1], job.framework.state_law("bf16").gathered


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ("zero_stage=0", {("step_reduce", "all_reduce"): (16, "g", 1)}),
        (
            "zero_stage=1",
            {("step_reduce", "reduce_scatter"): (16, "g", 1), ("step_gather", "all_gather"): (16, "p", 1)},
        ),
        (
            "zero_stage=2",
            {("micro_reduce", "reduce_scatter"): (16, "g", 1), ("step_gather", "all_gather"): (16, "p", 1)},
        ),
        (
            "zero_stage=3",
            {
                ("micro_reduce", "reduce_scatter"): (16, "g", 1),
                ("forward_gather", "all_gather"): (16, "p", 1),
                ("backward_gather", "all_gather"): (16, "p", 1),
            },
        ),
        (  # HSDP: shards inside the node of 8, their gradients summed over the two nodes
            "shard={parameters: 8}",
            {
                ("micro_reduce", "reduce_scatter"): (8, "g", 1),
                ("step_reduce", "all_reduce"): (2, "g", 8),
                ("forward_gather", "all_gather"): (8, "p", 1),
                ("backward_gather", "all_gather"): (8, "p", 1),
            },
        ),
        (  # hpZ: backward gathers from the second shard inside the node
            "shard={parameters: 16, parameters_secondary: 8}",
            {
                ("micro_reduce", "reduce_scatter"): (16, "g", 1),
                ("forward_gather", "all_gather"): (16, "p", 1),
                ("backward_gather", "all_gather"): (8, "p", 1),
            },
        ),
    ],
)
def test_flows(make_job: Any, knobs: str, expected: dict[Any, tuple[int, str, int]]) -> None:
    """A reduction carries every gradient, a gather every parameter; replicas of shards carry one shard."""
    gradient, parameter = widths(make_job)
    by_hand = {
        key: (ranks, ELEMENTS * (gradient if what == "g" else parameter) / part)
        for key, (ranks, what, part) in expected.items()
    }
    found = flows(make_job, knobs)
    assert {key: ranks for key, (ranks, _) in found.items()} == {k: v[0] for k, v in by_hand.items()}
    for key, (_, nbytes) in by_hand.items():
        assert found[key][1] == pytest.approx(nbytes)


def test_one_replica_sends_nothing(make_job: Any) -> None:
    assert flows(make_job, "tp=8,pp=2,sp=true") == {}


@pytest.mark.parametrize(
    ("knobs", "parameters", "gradients", "optimizer"),
    [
        ("zero_stage=0", 1, 1, 1),
        ("zero_stage=1", 1, 1, 16),
        ("zero_stage=2", 1, 16, 16),
        ("zero_stage=3", 16, 16, 16),
        ("shard={parameters: 4, gradients: 4, optimizer: 16}", 4, 4, 16),
    ],
)
def test_state_bytes(make_job: Any, knobs: str, parameters: int, gradients: int, optimizer: int) -> None:
    """Each class over its own group (arXiv 1910.02054, section 5)."""
    job = make_job(DENSE, devices=16, global_batch=64)
    row = from_layouts([parse_layout(knobs, job)])
    held = state_bytes(job, shard_groups(row), np.array([ELEMENTS]), np.array([0.0]))
    law = job.framework.state_law("bf16")
    assert held.parameters[0] == pytest.approx(law.parameters * ELEMENTS / parameters)
    assert held.gradients[0] == pytest.approx(gradient_bytes(job)[0] * ELEMENTS / gradients)
    assert held.optimizer[0] == pytest.approx(optimizer_bytes(job) * ELEMENTS / optimizer)


def test_adam_keeps_twelve_bytes(make_job: Any) -> None:
    """fp32 master, momentum and variance: 4 + 4 + 4 (arXiv 1910.02054, section 3.1)."""
    assert optimizer_bytes(make_job(DENSE, devices=16)) == 12.0


def test_second_shard_costs_memory(make_job: Any) -> None:
    """hpZ keeps a 16-bit copy over the 8 devices of a node besides the primary shard (arXiv 2306.10209)."""
    job = make_job(DENSE, devices=16, global_batch=64)
    row = from_layouts([parse_layout("shard={parameters: 16, parameters_secondary: 8}", job)])
    held = state_bytes(job, shard_groups(row), np.array([ELEMENTS]), np.array([0.0]))
    law = job.framework.state_law("bf16")
    assert held.parameters[0] == pytest.approx(law.parameters * ELEMENTS / 16 + law.gathered * ELEMENTS / 8)


def test_fraction_of_a_state_on_each_tier(make_job: Any) -> None:
    job = make_job(DENSE, devices=16, global_batch=64)
    row = from_layouts([parse_layout("offload={optimizer: {tier: host, fraction: 0.75}}", job)])
    assert tier_fraction(row, "optimizer", "host")[0] == 0.75
    assert tier_fraction(row, "optimizer", "hbm")[0] == 0.25
    assert tier_fraction(row, "parameters", "hbm")[0] == 1.0


def test_rates_of_tiers() -> None:
    """Two devices share a 32 GB/s link; 8 devices share drives of 24 (read) and 8 (write) GB/s."""
    host = Host(
        memory_bytes=1e12, link_bandwidth=32e9, shared_by=2, nvme_bytes=1e13, nvme_read=24e9, nvme_write=8e9
    )
    near, far = tier_rates(host, 8, "host"), tier_rates(host, 8, "nvme")
    assert near is not None
    assert far is not None
    assert (near.read, near.write) == (16e9, 16e9)
    assert (far.read, far.write) == (3e9, 1e9)
    assert tier_rates(Host(), 8, "host") is None


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        # 16 experts over ep 4: edp = 16 / 4 = 4 ranks hold the same experts, the dense weights are on all 16
        ("ep=4,zero_stage=0", {("edp", "step_reduce", "all_reduce"): (4, 2.0)}),
        (
            "ep=4,zero_stage=1",
            {
                ("edp", "step_reduce", "reduce_scatter"): (4, 2.0),
                ("edp", "step_gather", "all_gather"): (4, 2.0),
            },
        ),
        # experts over all ranks: nothing to reduce
        ("ep=16,zero_stage=1", {}),
        # tp 2 with whole experts (etp 1): edp = 2 x 8 / 8 = 2
        ("tp=2,ep=8,etp=1,zero_stage=0", {("edp", "step_reduce", "all_reduce"): (2, 2.0)}),
    ],
)
def test_routed_experts_reduce_over_their_own_replicas(
    make_job: Any, knobs: str, expected: dict[tuple[str, str, str], tuple[int, float]]
) -> None:
    """Expert gradients (2 bytes in the ideal profile) travel over edp = tp cp dp / (etp ep) ranks."""
    job = make_job(MOE, devices=16, global_batch=64)
    row = from_layouts([parse_layout(knobs, job)])
    found = replica_flows(job, row, shard_groups(row), parts(expert=ELEMENTS))
    moved = {
        (f.axis, f.occasion, f.collective): (int(f.ranks[0]), float((f.nbytes * f.calls)[0]) / ELEMENTS)
        for f in found
        if f.nbytes[0] > 0
    }
    assert moved == expected


@pytest.mark.parametrize(("framework", "copied"), [("torchtitan", True), ("composer-fsdp", False)])
def test_fsdp2_copies_between_its_buffers_and_tensors(make_job: Any, framework: str, copied: bool) -> None:
    """Gathered 16-bit parameters are read and written; 16-bit gradients are read and written in fp32. FSDP1 is flat."""
    job = make_job(DENSE, devices=16, global_batch=64, framework=framework)
    row = from_layouts([parse_layout("zero_stage=3", job)])
    found = {f.occasion: f for f in replica_flows(job, row, shard_groups(row), parts(dense=ELEMENTS))}
    accelerator = job.cluster.accelerator
    rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    for occasion, nbytes in (("forward_gather", 2 + 2), ("backward_gather", 2 + 2), ("micro_reduce", 2 + 4)):
        expected = nbytes * ELEMENTS / rate if copied else 0.0
        assert float(found[occasion].copies_s[0]) == pytest.approx(expected)


def test_nothing_hides_the_copies(make_job: Any) -> None:
    """Traffic that hides whole leaves its copies, once per micro-batch."""
    job = make_job(DENSE, devices=16, training={"overlap": {"dp_gather": 1.0}})
    one = np.ones(1)
    exposed = exposed_traffic(
        job, {("dp", "forward_gather"): Traffic(2.0 * one, 0.25 * one)}, 3.0 * one, one, 4.0 * one, 8
    )
    assert (exposed.by_axis["dp"][0], exposed.waits["forward"][0], exposed.hidden_s[0]) == (1.0, 0.25, 8.0)


@pytest.mark.parametrize(
    ("seconds", "passes", "hidden"),
    [
        # one chunk: nothing beyond the last micro-batch's 3 s
        (10.0, None, 3.0),
        # three chunks of 3 s each in turns of 4 micro-batches: two have 8 and 4 thirds of 3 s behind them and hide whole, the
        # last one has a third of a micro-batch, 1 s
        (9.0, 4, 7.0),
        # 60 s: all computation that is left, 1/3 + 2 x 4 / 3 micro-batches, hides its length
        (60.0, 4, 9.0),
        # all of it where little travels
        (2.0, 4, 2.0),
    ],
)
def test_chunks_leave_computation_behind_them(
    make_job: Any, seconds: float, passes: int | None, hidden: float
) -> None:
    """What a step's sums hide behind a backward of 3 s per micro-batch on all chunks, very many units."""
    job = make_job(DENSE, devices=16, training={"overlap": {"dp_reduce": 1.0}})
    one = np.ones(1)
    chunks = {} if passes is None else {"chunks": Chunks(3.0, (1.0 + 2.0 * passes) / 3.0)}
    traffic = {("dp", "step_reduce"): Traffic(seconds * one, 0.0 * one)}
    exposed = exposed_traffic(job, traffic, one, 3.0 * one, 8.0 * one, 10**9, **chunks)
    assert float(exposed.hidden_s[0]) == pytest.approx(hidden, rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "pp", "vpp", "micro_batches", "left"),
    [
        ("1f1b", 8, 1, 64, 1.0),
        ("interleaved_1f1b", 4, 3, 16, 3.0),
        ("interleaved_1f1b", 8, 2, 6, 3.5),
        ("looped_bfs", 4, 2, 16, 8.5),
        ("zb_v", 4, 2, 16, 1.0),
    ],
)
def test_passes_left_behind_chunks(schedule: str, pp: int, vpp: int, micro_batches: int, left: float) -> None:
    """Of two chunks in turns of four the first one to end leaves four micro-batches on one chunk of two."""
    columns = [np.array([n]) for n in (SCHEDULES.index(schedule), pp, vpp, micro_batches)]
    assert float(passes_left(*columns)[0]) == pytest.approx(left)
