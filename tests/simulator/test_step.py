"""A simulated step against the closed form: equal where the closed form is exact, near it on whole jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from planner.costs.evaluate import evaluate
from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute, Shard
from planner.layouts.legality import check
from planner.layouts.space.space import search_space
from planner.simulator.options import SimulationOptions
from planner.simulator.prediction import to_prediction
from planner.simulator.simulation import simulate

ALONE = SimulationOptions(sharing=False, slowdown=False)

MakeJob = Callable[..., Job]


def equal_stages(
    make_job: MakeJob, generator: np.random.Generator, replicas: bool
) -> tuple[Job, Layout, float]:
    """A job whose stages are equal (next to no vocabulary) with p | m and short hops, its layout, its step by closed form.

    What is left of the head makes the last stage a little slower; 1F1B hides a recurring hop behind that, so hops are short
    when all of them together are below 1/200 of the step.
    """
    pick = generator.choice
    while True:
        p, v = int(pick([2, 4, 8])), int(pick([1, 1, 2, 4]))
        schedule = "interleaved_1f1b" if v > 1 else str(pick(["gpipe", "1f1b"]))
        tp, m, b = int(pick([1, 2, 4, 8])), p * int(pick([1, 2, 4, 8])), int(pick([1, 2]))
        cp, dp = (int(pick([1, 2])), int(pick([1, 2, 4]))) if replicas else (1, 1)
        model = {
            "layers": p * v * int(pick([1, 2, 3])), "hidden": int(pick([1024, 4096])), "heads": 32, "kv_heads": 8,
            "ffn_hidden": 8192, "gated_mlp": True, "vocab": 64,
        }  # fmt: skip
        framework = "ideal" if schedule == "gpipe" else str(pick(["ideal", "megatron-core"]))
        job = make_job(model, tp * cp * dp * p, dp * m * b, int(pick([2048, 8192])), framework)
        layout = Layout(
            tp=tp, sp=tp > 1, ring=cp, pp=p, vpp=v, schedule=schedule, dp=dp, etp=tp, micro_batch=b, micro_batches=m,
            recompute=Recompute(str(pick(["none", "full"]))), shard=Shard(optimizer=int(pick([1, dp * cp]))),
        )  # fmt: skip
        if check(job, layout):
            continue
        estimate = predict(job, layout)
        if estimate.time.exposed["pp"] <= estimate.step_time_s / 200.0:
            return job, layout, estimate.step_time_s


def beside(job: Job, layout: Layout, seconds: float, options: SimulationOptions = ALONE) -> float:
    """The simulated step over these seconds, less one."""
    return simulate(job, layout, options).step_time_s / seconds - 1.0


def difference(job: Job, layout: Layout, options: SimulationOptions = ALONE) -> float:
    return beside(job, layout, predict(job, layout).step_time_s, options)


def test_equal_stages_agree_with_the_closed_form(make_job: MakeJob) -> None:
    generator = np.random.default_rng(7)
    jobs = [equal_stages(make_job, generator, replicas=False) for _ in range(200)]
    errors = [(str(layout), beside(job, layout, seconds)) for job, layout, seconds in jobs]
    assert [(name, error) for name, error in errors if abs(error) > 0.005] == []


def test_replica_traffic_differs_by_its_first_and_last_block_only(make_job: MakeJob) -> None:
    generator = np.random.default_rng(8)
    errors = np.abs([beside(*equal_stages(make_job, generator, replicas=True)) for _ in range(60)])
    assert np.median(errors) < 0.002
    assert np.quantile(errors, 0.9) < 0.01


@pytest.mark.parametrize(("tp", "vpp"), [(8, 6), (4, 12), (8, 2)])
def test_gradients_of_chunks_travel_behind_the_chunks_after_them(
    make_job: MakeJob, tp: int, vpp: int
) -> None:
    """Few micro-batches over many replicas: hiding the step's sums and gathers behind one micro-batch alone, as without
    chunks, would make these steps a tenth to a third longer."""
    model = {"layers": 96, "hidden": 12288, "heads": 96, "ffn_hidden": 49152, "vocab": 64}
    layout = Layout(
        tp=tp, sp=True, pp=8, vpp=vpp, schedule="interleaved_1f1b", dp=128, micro_batches=8,
        shard=Shard(optimizer=128),
    )  # fmt: skip
    job = make_job(model, tp * 8 * 128, 8 * 128, 2048, "megatron-core")
    assert abs(difference(job, layout)) < 0.03


EXAMPLES = ("llama3-8b-h100", "gpt3-175b-a100", "megatron-1t-a100", "llama3-70b-h100", "deepseek-v3-h800")


def fast_layouts(job: Job, count: int, seed: int) -> Iterator[Layout]:
    """Layouts that fit and are among the faster ones, of random meshes, with few enough passes to simulate many."""
    generator = np.random.default_rng(seed)
    space = search_space(job)
    few = np.flatnonzero(space.outer.columns["micro_batches"] * space.outer.columns["vpp"] <= 512)
    rows = generator.choice(few, min(24, len(few)), replace=False)
    kept: list[Layout] = []
    for _, layouts, _ in space.blocks(np.sort(rows)):
        result = evaluate(job, layouts)
        fitting = np.flatnonzero(result.memory.fits)
        if not len(fitting):
            continue
        times = result.step_time_s[fitting]
        fast = fitting[times <= np.quantile(times, 0.3)]
        kept += [layouts.row(int(i)) for i in generator.choice(fast, min(count, len(fast)), replace=False)]
    yield from (kept[i] for i in generator.choice(len(kept), min(count, len(kept)), replace=False))


def test_whole_jobs_are_near_the_closed_form(examples: Path) -> None:
    errors = []
    for seed, name in enumerate(EXAMPLES):
        job = load_job(examples / f"{name}.yaml")
        errors += [difference(job, layout, SimulationOptions()) for layout in fast_layouts(job, 6, seed)]
    assert len(errors) >= 24
    assert np.median(np.abs(errors)) <= 0.03


@pytest.mark.parametrize("framework", ["megatron-core", "ideal"])
@pytest.mark.parametrize(("pp", "recompute"), [(1, "none"), (2, "full"), (4, "none"), (4, "selective")])
def test_peak_memory_of_1f1b_is_the_estimate(
    make_job: MakeJob, framework: str, pp: int, recompute: str
) -> None:
    job = make_job("llama3.2-1b", 16, 64, framework=framework)
    policy = Recompute(recompute, job.framework.selective_modules if recompute == "selective" else ())
    dp = 8 // pp
    layout = Layout(
        tp=2, sp=True, pp=pp, dp=dp, micro_batches=64 // dp, recompute=policy, shard=Shard(1, 1, dp)
    )
    simulated, estimated = to_prediction(simulate(job, layout)).memory, predict(job, layout).memory
    assert simulated.by_rank == pytest.approx(estimated.by_rank, rel=1e-9)
    assert sum(simulated.by_class.values()) == pytest.approx(simulated.peak_bytes)
    assert simulated.by_class == pytest.approx(estimated.by_class)
    assert simulated.fits == estimated.fits


@pytest.mark.parametrize(
    ("schedule", "vpp", "in_flight"),
    [
        ("gpipe", 1, [16.0, 16.0, 16.0, 16.0]),
        ("1f1b", 1, [4.0, 3.0, 2.0, 1.0]),
        ("eager_1f1b", 1, [7.0, 5.0, 3.0, 1.0]),
        # min(2(p - 1 - r) + (v - 1)p + 1, mv) / v
        ("interleaved_1f1b", 2, [5.5, 4.5, 3.5, 2.5]),
        ("interleaved_1f1b", 4, [4.75, 4.25, 3.75, 3.25]),
        ("zb_h1", 1, [4.0, 4.0, 4.0, 4.0]),
        ("zb_h2", 1, [7.0, 7.0, 7.0, 7.0]),
    ],
)
def test_activations_at_the_peak_follow_the_table(
    make_job: MakeJob, schedule: str, vpp: int, in_flight: list[float]
) -> None:
    """With p = 4 and 16 micro-batches (docs/schedules.md); the head makes the last chunk a little larger than the others."""
    model = {"layers": 16, "hidden": 1024, "heads": 16, "ffn_hidden": 4096, "vocab": 2}
    job = make_job(model, 4, 16, framework="ideal")
    layout = Layout(pp=4, vpp=vpp, schedule=schedule, micro_batches=16)
    simulation = simulate(job, layout, ALONE)
    stages = simulation.priced[0].stages
    held = [
        rank.memory.by_class["activations"] / sum(stages[stage].saved_bytes for stage in rank.virtual_stages)
        for rank in to_prediction(simulation).ranks
    ]
    assert held == pytest.approx(in_flight, abs=0.1)


@pytest.mark.parametrize(
    ("schedule", "vpp"),
    [
        ("gpipe", 1), ("1f1b", 1), ("eager_1f1b", 1), ("interleaved_1f1b", 2), ("looped_bfs", 2), ("zb_h1", 1),
        ("zb_h2", 1), ("zb_v", 2), ("v_half", 2), ("v_min", 2), ("interleaved_zb", 2), ("dualpipe", 1),
        ("dualpipe_v", 2), ("wave", 2), ("seq1f1b", 1),
    ],
)  # fmt: skip
def test_every_schedule_computes_the_whole_model(make_job: MakeJob, schedule: str, vpp: int) -> None:
    """No step is shorter than one rank's share of the work, nor longer than the work of all ranks in a row."""
    job = make_job("llama3.2-1b", 8, 32, framework="ideal")
    slices = 4 if schedule == "seq1f1b" else 1
    layout = Layout(tp=2, sp=True, pp=4, vpp=vpp, schedule=schedule, micro_batches=32, slices=slices)
    simulation = simulate(job, layout)
    alone = Layout(tp=2, sp=True, pp=1, dp=4, micro_batches=8)
    whole = 4.0 * simulate(make_job("llama3.2-1b", 8, 32, framework="ideal"), alone, ALONE).step_time_s
    assert whole / 4.0 < simulation.step_time_s < whole
    for rank in to_prediction(simulation).ranks:
        assert rank.time.total_s == pytest.approx(simulation.step_time_s, rel=1e-9)


def test_micro_batches_of_their_own_lengths(make_job: MakeJob) -> None:
    job = make_job("llama3.2-1b", 2, 4, framework="ideal")
    layout = Layout(tp=2, sp=True, micro_batches=4)

    def step(lengths: tuple[int, ...] | None) -> float:
        return simulate(job, layout, SimulationOptions(sharing=False, lengths=lengths)).step_time_s

    assert step((2048,) * 4) == pytest.approx(step(None), rel=1e-12)
    # One rank runs one micro-batch after the other, so the step is the sum of its parts: exchange two of them, nothing
    # changes; a step of four equal ones has four times the passes and one update.
    assert step((1024, 4096, 2048, 2048)) == pytest.approx(step((2048, 1024, 2048, 4096)), rel=1e-12)
    mixed = (step((1024,) * 4) + step((4096,) * 4)) / 2.0
    assert step((1024, 1024, 4096, 4096)) == pytest.approx(mixed, rel=1e-9)
