"""What a lowered step moves: bytes of the cost model, offloaded activations that leave before they return."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Offload, Recompute, Shard
from planner.simulator.options import SimulationOptions
from planner.simulator.program import What
from planner.simulator.simulation import Simulation, simulate

MakeJob = Callable[..., Job]

LAYOUTS = {
    "tensor": Layout(tp=4, sp=True, dp=4, micro_batches=16, recompute=Recompute("full")),
    "context": Layout(ulysses=2, ring=2, dp=4, micro_batches=16),
    "fully sharded": Layout(dp=16, shard=Shard(16, 16, 16), micro_batches=4),
    "optimizer sharded": Layout(tp=2, sp=True, pp=2, dp=4, shard=Shard(1, 1, 4), micro_batches=16),
    "hybrid": Layout(dp=16, shard=Shard(4, 4, 4), micro_batches=4),
}


def seconds(simulation: Simulation, *kinds: What) -> float:
    """Time alone on the network of all transfers of some kinds that one device takes part in."""
    tasks = simulation.program.tasks
    mine = np.isin(tasks.what, kinds)
    return float((tasks.seconds + tasks.latency_s)[mine].sum()) / len(simulation.actors)


@pytest.mark.parametrize("name", LAYOUTS)
def test_transfers_last_as_long_as_the_estimate_says(make_job: MakeJob, name: str) -> None:
    job = make_job(
        "llama3.2-1b", 16, 64, framework="megatron-core" if name in ("tensor", "context") else "ideal"
    )
    layout = LAYOUTS[name]
    simulation = simulate(job, layout)
    ranks = predict(job, layout).ranks
    expected = [
        row.seconds for rank in ranks for row in rank.communication if row.axis not in ("pp", "dp", "edp")
    ]
    assert seconds(simulation, What.EXCHANGE) == pytest.approx(sum(expected) / len(ranks), rel=1e-9)
    replicas = [row.seconds for rank in ranks for row in rank.communication if row.axis in ("dp", "edp")]
    assert seconds(simulation, What.GATHER, What.REDUCE) == pytest.approx(
        sum(replicas) / len(ranks), rel=1e-9
    )


def offloaded(make_job: MakeJob) -> Simulation:
    job = make_job("llama3.2-1b", 4, 16, framework="ideal")
    layout = Layout(pp=2, dp=2, micro_batches=8, offload=Offload(activations=("host", 1.0)))
    return simulate(job, layout)


def test_activations_leave_before_they_return(make_job: MakeJob) -> None:
    simulation = offloaded(make_job)
    tasks, run = simulation.program.tasks, simulation.execution
    out, back = (np.flatnonzero(tasks.what == what) for what in (What.OFFLOAD_OUT, What.OFFLOAD_IN))
    assert len(out) == len(back) > 0
    for stage in range(2):
        for micro_batch in range(8):
            of = (tasks.stage == stage) & (tasks.micro_batch == micro_batch)
            assert run.start[back[of[back]]].max() >= run.end[out[of[out]]].min()
            # Backward works from the last block to the first, so the first block's activations return last.
            assert run.end[back[of[back]]].max() >= run.end[out[of[out]]].max()


def test_the_host_link_carries_what_is_saved_both_ways(make_job: MakeJob) -> None:
    simulation = offloaded(make_job)
    links = simulation.program.links
    host = int(links.level.max())
    saved = [8.0 * stage.saved_bytes for stage in simulation.priced[0].stages]
    for outgoing in (True, False):
        mine = (links.level == host) & (links.outgoing == outgoing)
        assert sorted(simulation.execution.carried[mine]) == pytest.approx(sorted(saved), rel=1e-9)


def test_everything_offloaded_runs(make_job: MakeJob) -> None:
    """Forward passes fetch parameters before their activations have left: nothing waits for itself."""
    job = make_job("llama3.2-1b", 4, 16, framework="ideal")
    everything = Offload(*(("host", 1.0),) * 4)
    layout = Layout(pp=2, dp=2, micro_batches=8, shard=Shard(2, 2, 2), offload=everything)
    alone = Layout(pp=2, dp=2, micro_batches=8, shard=Shard(2, 2, 2))
    assert simulate(job, layout).step_time_s > simulate(job, alone).step_time_s


def test_a_hop_inside_a_node_is_shorter_than_one_between_nodes(make_job: MakeJob) -> None:
    """Pipeline ranks 4 devices apart on nodes of 8: 0 to 1 and 2 to 3 stay inside, 1 to 2 does not."""
    job = make_job("llama3.2-1b", 16, 16, framework="ideal", per_node=8)
    simulation = simulate(job, Layout(dp=4, pp=4, micro_batches=4), SimulationOptions(sharing=False))
    tasks = simulation.program.tasks
    hops = tasks.what == What.HOP
    moving = hops & (tasks.seconds > 0)
    by_sender = {int(rank): set() for rank in range(4)}
    for actor, value in zip(tasks.actor[moving], tasks.seconds[moving], strict=True):
        by_sender[int(simulation.actors.pipeline_rank[actor])].add(round(float(value), 9))
    assert len(by_sender[0]) == 1
    assert by_sender[0] == by_sender[3]
    assert len(by_sender[1]) == len(by_sender[2]) == 2
    assert min(by_sender[1]) == max(by_sender[0]) < max(by_sender[1])


@pytest.mark.parametrize("framework", ["torchtitan", "composer-fsdp"])
def test_copies_of_fsdp2_are_simulated(make_job: MakeJob, framework: str) -> None:
    """They are some 5 % of this step, gathers and reductions that hide are not all the same: 1 % apart at most."""
    model = {"layers": 16, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn_hidden": 8192, "gated_mlp": True}
    job = make_job(model | {"vocab": 64}, 8, 16, framework=framework)
    layout = Layout(dp=8, shard=Shard(8, 8, 8), micro_batches=2)
    simulated = simulate(job, layout, SimulationOptions(sharing=False, slowdown=False))
    assert simulated.step_time_s == pytest.approx(predict(job, layout).step_time_s, rel=0.01)
