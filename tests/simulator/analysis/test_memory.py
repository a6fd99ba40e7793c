"""Memory over time by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.jobs.prediction import MEMORY_CLASSES
from planner.simulator.analysis.memory import (
    MemoryTimeline,
    RankFacts,
    StageFacts,
    memory_timeline,
    memory_timelines,
)
from planner.simulator.analysis.passes_run import passes_run
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.schedule import Schedule
from tests.simulator.analysis.programs import two_stages

STATES = RankFacts(
    {"parameters": 100.0, "gathered_parameters": 8.0}, {"parameters": 100.0, "optimizer_transient": 50.0}
)
BODY = StageFacts(saved_bytes=10.0, moment_bytes=3.0)
HEAD = StageFacts(
    saved_bytes=10.0, moment_bytes=3.0, logits_bytes=20.0, head_moment_bytes=5.0, head_share=0.25
)


def value(timeline: MemoryTimeline, name: str, time: float) -> float:
    point = int(np.searchsorted(timeline.times, time, side="right")) - 1
    return float(timeline.by_class[MEMORY_CLASSES.index(name), point])


def timelines(schedule: Schedule, stages: list[StageFacts], rank: RankFacts) -> list[MemoryTimeline]:
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    execution = run_fixed(program)
    ranks = range(program.actors)
    return list(memory_timelines(program, execution, schedule, stages, [rank] * len(ranks), ranks, ranks))


def test_two_stages_by_hand() -> None:
    program, execution, schedule = two_stages()
    passes = passes_run(program, execution, schedule)
    assert [passes.name(i) for i in range(2)] == [
        "F of stage 0, micro-batch 0",
        "F of stage 0, micro-batch 1",
    ]
    first = memory_timeline(passes, [BODY, HEAD], STATES, 0, (10.5, 11.5))
    # 108 of states, two micro-batches of 10 kept, 3 while B runs (5-7, 8.5-10.5).
    expected = {0.5: 118, 1.5: 128, 6.0: 131, 8.0: 118, 9.0: 121, 10.6: 150, 11.5: 108}
    for time, nbytes in expected.items():
        assert first.total[np.searchsorted(first.times, time, side="right") - 1] == pytest.approx(nbytes)
    assert first.peak_at == "optimizer step"
    assert first.peak_bytes == 150.0
    assert first.at_peak()["gathered_parameters"] == 0.0
    both = memory_timelines(program, execution, schedule, [BODY, HEAD], [STATES, STATES], [0, 1], [0])
    assert np.array_equal(both[0].by_class, first.by_class)
    last = memory_timeline(passes, [BODY, HEAD], RankFacts(), 1)
    # Logits from F's start (1.5) to a quarter of B (3.0), B's head needs 5 more, its layers 3.
    assert value(last, "logits", 2.0) == 20.0
    assert value(last, "transient", 2.6) == 5.0
    assert value(last, "logits", 3.1) == 0.0
    assert value(last, "transient", 3.1) == 3.0
    assert (last.peak_bytes, last.peak_time_s) == (35.0, 2.5)
    assert last.peak_at == "B of stage 1, micro-batch 0, at the head"


@pytest.mark.parametrize("micro_batches", [4, 9])
def test_1f1b_and_gpipe_hold_what_the_table_says(micro_batches: int) -> None:
    ranks = 4
    stage = [BODY] * ranks
    # GPipe keeps all m micro-batches, 1F1B on rank r min(p - r, m); the backward pass at work needs 3 more.
    for name, kept in (("gpipe", [micro_batches] * ranks), ("1f1b", [4, 3, 2, 1])):
        schedule = make_schedule(name, ranks=ranks, chunks=1, micro_batches=micro_batches)
        peaks = [line.peak_bytes for line in timelines(schedule, stage, RankFacts())]
        assert peaks == pytest.approx([10.0 * n + 3.0 for n in kept])


def test_interleaved_holds_what_the_table_says() -> None:
    schedule = make_schedule("interleaved_1f1b", ranks=4, chunks=2, micro_batches=8)
    lines = timelines(schedule, [StageFacts(saved_bytes=10.0)] * 8, RankFacts())
    # 2(p - 1 - r) + (v - 1) p + 1 chunks.
    assert [line.peak_bytes for line in lines] == pytest.approx([110.0, 90.0, 70.0, 50.0])


@pytest.mark.parametrize(("kept", "peak"), [(1.0, 80.0), (0.0, 40.0)])
def test_a_split_backward_keeps_a_share_for_the_weight_gradient(kept: float, peak: float) -> None:
    schedule = make_schedule("zb_h1", ranks=4, chunks=1, micro_batches=8)
    facts = StageFacts(saved_bytes=20.0, kept_after_input_gradient=kept)
    lines = timelines(schedule, [facts] * 4, RankFacts())
    # ZB-H1 holds p micro-batches on every rank until their weight gradients; without these rank r holds p - r at most.
    assert lines[0].peak_bytes == pytest.approx(80.0)
    assert lines[2].peak_bytes == pytest.approx(peak)


def test_a_fused_pass_counts_both_halves() -> None:
    schedule = make_schedule("dualpipe_v", ranks=2, chunks=2, micro_batches=6)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    execution = run_fixed(program)
    passes = passes_run(program, execution, schedule)
    names = [passes.name(i) for i in range(len(passes))]
    assert any(name.startswith("F of stage") and " with B of stage" in name for name in names)
    line = memory_timeline(passes, [BODY] * 4, RankFacts(), 0)
    assert line.total[-1] == 0.0
    assert line.total.min() >= 0.0


@settings(max_examples=30)
@given(
    name=st.sampled_from(["gpipe", "1f1b", "eager_1f1b", "zb_h1", "zb_h2"]),
    ranks=st.integers(1, 5),
    micro_batches=st.integers(1, 9),
    saved=st.floats(0.1, 1e9),
    kept=st.floats(0.0, 1.0),
)
def test_everything_is_freed_again(
    name: str, ranks: int, micro_batches: int, saved: float, kept: float
) -> None:
    schedule = make_schedule(name, ranks=ranks, chunks=1, micro_batches=micro_batches)
    facts = StageFacts(saved, 2.0 * saved, 3.0 * saved, saved, kept, 0.5)
    for line in timelines(schedule, [facts] * ranks, RankFacts({"optimizer": 7.0 * saved})):
        assert line.total[-1] == pytest.approx(7.0 * saved)
        assert line.by_class.min() >= -1e-9 * saved
        assert np.diff(line.times).min(initial=0.0) >= 0.0
        assert sum(line.at_peak().values()) == pytest.approx(line.peak_bytes)
        assert line.peak_bytes == pytest.approx(line.total.max())


def test_passes_of_slices_are_named_by_both() -> None:
    schedule = make_schedule("seq1f1b", ranks=2, chunks=1, micro_batches=2, slices=2)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    passes = passes_run(program, run_fixed(program), schedule)
    assert passes.of(1).name(1) == "F of stage 1, micro-batch 0.1"
