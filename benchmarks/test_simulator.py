"""Actions per second of the event engines, one core; jit compilation is not counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import EXAMPLES
from benchmarks.event_loop import EventLoop
from planner.jobs.loader import open_job, resolve
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Shard
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.engine.shared import run_shared
from planner.simulator.lowering.plan import Detail
from planner.simulator.options import SimulationOptions
from planner.simulator.pipeline import PassSeconds, PipelineRun, pipeline_program, run_pipeline
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.schedule import Kind, Schedule
from planner.simulator.simulation import simulate
from planner.solvers.refine import refine
from planner.solvers.search import search
from tests.simulator.engine.astra import ring_all_reduce

SECONDS = {Kind.F: 1.0, Kind.B: 2.1, Kind.I: 1.2, Kind.W: 0.9, Kind.OVERLAP_F_B: 3.1}
PASSES = PassSeconds(forward=1.0, backward=2.1, input_gradient=1.2, weight_gradient=0.9)
HOP_S = 0.05


@pytest.fixture(scope="module")
def megatron_1t() -> Schedule:
    """Megatron's one-trillion-parameter run: 64 pipeline ranks, 512 micro-batches (arXiv 2104.04473, table 1)."""
    return make_schedule("1f1b", ranks=64, chunks=1, micro_batches=512)


def test_simulate_compiled(benchmark: Any, megatron_1t: Schedule) -> None:
    """Lowering and running, passes and transfers."""
    run = benchmark.pedantic(run_pipeline, (megatron_1t, PASSES, HOP_S), rounds=20, warmup_rounds=2)
    benchmark.extra_info["actions"] = len(run.flat) + run.transfers


def test_simulate_plain_python(benchmark: Any, megatron_1t: Schedule) -> None:
    """The same by an ordinary event loop."""

    def plain() -> tuple[float, int]:
        loop = EventLoop(megatron_1t, SECONDS, HOP_S)
        return loop.run(), loop.handled

    makespan, benchmark.extra_info["actions"] = benchmark.pedantic(plain, rounds=2)
    assert makespan == pytest.approx(run_pipeline(megatron_1t, PASSES, HOP_S).makespan_s, rel=1e-9)


@pytest.mark.parametrize(("schedule", "chunks"), [("1f1b", 1), ("interleaved_1f1b", 2)])
def test_generate_and_simulate_megatron_1t(benchmark: Any, schedule: str, chunks: int) -> None:
    """From the name of the schedule to its makespan."""

    def whole() -> PipelineRun:
        made = make_schedule(schedule, ranks=64, chunks=chunks, micro_batches=512)
        return run_pipeline(made, PASSES, HOP_S)

    run = benchmark.pedantic(whole, rounds=5, warmup_rounds=1)
    benchmark.extra_info["actions"] = len(run.flat) + run.transfers


@pytest.mark.parametrize("engine", [run_fixed, run_shared])
def test_engine_alone(benchmark: Any, megatron_1t: Schedule, engine: Any) -> None:
    """A program that is already lowered."""
    program = pipeline_program(megatron_1t, PASSES, HOP_S)
    benchmark.extra_info["actions"] = len(program.tasks)
    benchmark.pedantic(engine, (program,), rounds=10, warmup_rounds=1)


def test_messages_over_links(benchmark: Any) -> None:
    """Ring all-reduce of 1,024 devices as 2.1 million messages over links, as ASTRA-sim's analytical backend runs it."""
    program = ring_all_reduce(1024, 64 * 2**20, 1024)
    benchmark.extra_info["actions"] = int((program.tasks.route >= 0).sum())
    execution = benchmark.pedantic(run_shared, (program,), rounds=1)
    assert np.isclose(execution.makespan_s, 3_662_350, atol=1)


def test_refine_20(benchmark: Any, llama_job: Job) -> None:
    """The best 20 layouts of llama3-70b on 64 H100, simulated one after the other; the search before is not counted."""
    plans = search(llama_job, top=20, pareto=False).plans
    benchmark.extra_info["layouts"] = len(plans)
    refinement = benchmark.pedantic(refine, (llama_job, plans), {"count": 20}, rounds=1, warmup_rounds=0)
    assert len(refinement.simulated) == 20


@pytest.mark.parametrize("detail", ["pass", "layer"])
def test_whole_step_on_512_devices(benchmark: Any, detail: Detail) -> None:
    """llama3-70b on 512 H100, tp 8, pp 4, dp 16, 16 micro-batches: every device apart, links shared."""
    job = resolve(open_job(EXAMPLES / "llama3-70b-h100-512.yaml", overrides={"training.global_batch": 256}))
    layout = Layout(tp=8, sp=True, pp=4, dp=16, micro_batches=16, shard=Shard(optimizer=16))
    options = SimulationOptions(merge="none", detail=detail)
    simulation = benchmark.pedantic(simulate, (job, layout, options), rounds=2, warmup_rounds=1)
    assert len(simulation.actors) == 512
    benchmark.extra_info["actions"] = len(simulation.program.tasks)
