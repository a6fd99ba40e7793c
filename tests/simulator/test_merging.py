"""A step with devices that act alike merged is the step of all devices: same end, same bytes through the same ports."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from planner.jobs.types import Job
from planner.layouts.layout import Layout, Shard
from planner.simulator.options import SimulationOptions
from planner.simulator.perturbations import Perturbations
from planner.simulator.simulation import Simulation, simulate

PERTURBATIONS = {
    "equal": Perturbations(),
    "slow device": Perturbations(slow_devices={5: 0.7}),
    "slow link": Perturbations(slow_links={(9, "infiniband"): 0.3}),
    "both": Perturbations(slow_devices={5: 0.7}, slow_links={(5, "nvlink"): 0.3}),
    "spread": Perturbations(speed_spread=0.05, seed=1),
}

DENSE = {
    "tensor and pipeline": Layout(tp=2, sp=True, pp=2, dp=4, micro_batches=8, shard=Shard(1, 1, 4)),
    "context": Layout(ulysses=2, ring=2, pp=2, dp=2, micro_batches=16, shard=Shard(1, 1, 8)),
    "hybrid shards": Layout(ulysses=2, ring=2, pp=2, dp=2, micro_batches=16, shard=Shard(1, 1, 4)),
    "hybrid full shards": Layout(dp=16, shard=Shard(4, 4, 4), micro_batches=2),
    "interleaved": Layout(tp=2, pp=4, vpp=2, schedule="interleaved_1f1b", dp=2, micro_batches=16),
    "fully sharded": Layout(dp=16, shard=Shard(16, 16, 16), micro_batches=2),
    "pipeline inside": Layout(pp=2, tp=2, dp=4, micro_batches=8, axis_order=("pp", "tp", "cp", "ep", "dp")),
}


def steps(job: Job, layout: Layout, perturbations: Perturbations) -> tuple[Simulation, Simulation]:
    merged = simulate(job, layout, SimulationOptions(merge="auto", perturbations=perturbations))
    return merged, simulate(job, layout, SimulationOptions(merge="none", perturbations=perturbations))


def check_equal(merged: Simulation, whole: Simulation) -> None:
    assert len(whole.actors) == whole.job.devices
    assert merged.step_time_s == pytest.approx(whole.step_time_s, rel=1e-9)
    per_device = whole.execution.carried.reshape(len(whole.actors), -1)
    per_actor = merged.execution.carried.reshape(len(merged.actors), -1)
    assert np.allclose(per_device, per_actor[merged.actors.of_device], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("what", PERTURBATIONS)
@pytest.mark.parametrize("name", DENSE)
def test_dense_steps(make_job: Callable[..., Job], name: str, what: str) -> None:
    job = make_job("llama3.2-1b", 16, 32)
    check_equal(*steps(job, DENSE[name], PERTURBATIONS[what]))


@pytest.mark.parametrize("what", ["equal", "slow device"])
def test_steps_with_experts(make_job: Callable[..., Job], what: str) -> None:
    job = make_job("mixtral-8x7b", 16, 32)
    layout = Layout(tp=2, sp=True, pp=2, dp=4, ep=4, etp=1, micro_batches=8, shard=Shard(1, 1, 4))
    check_equal(*steps(job, layout, PERTURBATIONS[what]))


def test_a_slow_device_slows_the_step_by_its_share_at_most(make_job: Callable[..., Job]) -> None:
    """Half the speed of one device of a synchronous step: slower, by a factor of at most two."""
    job = make_job("llama3.2-1b", 16, 32)
    layout = DENSE["tensor and pipeline"]
    equal, slow = (
        simulate(job, layout, SimulationOptions(perturbations=Perturbations(slow_devices=slow)))
        for slow in ({}, {3: 0.5})
    )
    assert 1.2 < slow.step_time_s / equal.step_time_s <= 2.0
