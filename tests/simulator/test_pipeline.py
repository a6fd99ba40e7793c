"""Schedules run with given pass times: small cases by hand, random ones against a plain event loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.event_loop import EventLoop
from planner.errors import PlannerError
from planner.simulator.engine.shared import run_shared
from planner.simulator.pipeline import PassSeconds, pipeline_program, run_pipeline
from planner.simulator.schedules.schedule import Actions, Kind, Schedule
from tests.simulator.random_schedules import schedule_of, schedules

F, B, I, W = Kind.F, Kind.B, Kind.I, Kind.W  # noqa: E741
PASSES = PassSeconds(forward=1.0, backward=2.0, input_gradient=1.0, weight_gradient=1.0)


@pytest.fixture
def two_ranks() -> Schedule:
    """1F1B of two ranks and two micro-batches."""
    return schedule_of(
        [0, 1],
        2,
        [
            [(F, 0, 0), (F, 0, 1), (B, 0, 0), (B, 0, 1)],
            [(F, 1, 0), (B, 1, 0), (F, 1, 1), (B, 1, 1)],
        ],
    )


def test_one_forward_one_backward(two_ranks: Schedule) -> None:
    """Rank 1: F0 1-2, B0 2-4, F1 4-5, B1 5-7. Rank 0: F0 0-1, F1 1-2, B0 4-6, B1 7-9."""
    run = run_pipeline(two_ranks, PASSES)
    assert run.start.tolist() == [0, 1, 4, 7, 1, 2, 4, 5]
    assert run.end.tolist() == [1, 2, 6, 9, 2, 4, 5, 7]
    assert run.makespan_s == 9
    assert run.busy_s.tolist() == [6, 6]
    assert run.global_bubble_s == 3
    assert run.rank_bubble_s.tolist() == [3, 0]
    assert run.peak_in_flight.tolist() == [2, 1]
    assert run.transfers == 0


def test_hops_delay_what_waits_for_them(two_ranks: Schedule) -> None:
    """Hops of 0.5. Rank 1: F0 1.5-2.5, B0 2.5-4.5, F1 4.5-5.5, B1 5.5-7.5. Rank 0: B0 5-7, B1 8-10."""
    run = run_pipeline(two_ranks, PASSES, 0.5)
    assert run.start.tolist() == [0, 1, 5, 8, 1.5, 2.5, 4.5, 5.5]
    assert run.makespan_s == 10
    assert run.transfers == 4


def test_passes_of_each_stage_and_micro_batch_have_their_own_time(two_ranks: Schedule) -> None:
    """Stage 1 forwards take 3, micro-batch 1 goes backward in 5: rank 1: F0 1-4, B0 4-6, F1 6-9, B1 9-14; rank 0: B0 6-8,
    B1 14-19."""
    passes = replace(PASSES, forward=[[1.0], [3.0]], backward=[[2.0, 5.0]])
    assert run_pipeline(two_ranks, passes).end.tolist() == [1, 2, 8, 19, 4, 6, 9, 14]


@pytest.mark.parametrize(("kept", "peak"), [(1.0, 2.0), (0.25, 1.25), (0.0, 1.0)])
def test_activations_kept_for_the_weight_gradient(kept: float, peak: float) -> None:
    """F0 I0 F1 W0 I1 W1: after I0 a share ``kept`` stays, then F1 adds 1."""
    rows = [[(F, 0, 0), (I, 0, 0), (F, 0, 1), (W, 0, 0), (I, 0, 1), (W, 0, 1)]]
    run = run_pipeline(schedule_of([0], 2, rows), PASSES, kept_after_input_gradient=kept)
    assert run.peak_in_flight.tolist() == [peak]


def test_peaks_count_micro_batches_on_all_chunks_of_a_rank() -> None:
    """One rank with two chunks: both forwards of one micro-batch make one unit; of two slices, half a unit each."""
    rows = [[(F, 0, 0), (F, 1, 0), (B, 1, 0), (F, 0, 1), (F, 1, 1), (B, 1, 1), (B, 0, 0), (B, 0, 1)]]
    assert run_pipeline(schedule_of([0, 0], 2, rows), PASSES).peak_in_flight.tolist() == [1.5]
    assert run_pipeline(schedule_of([0, 0], 2, rows, slices=2), PASSES).peak_in_flight.tolist() == [0.75]


def test_two_chains_meet_on_a_rank() -> None:
    """Micro-batch 0 goes up (stages 0, 1), 1 comes down (stages 2, 3): each visits one stage per rank, so both are 2."""
    rows = [
        Actions.of([(F, 0, 0), (F, 3, 1), (B, 3, 1), (B, 0, 0)]),
        Actions.of([(F, 2, 1), (F, 1, 0), (B, 1, 0), (B, 2, 1)]),
    ]
    schedule = Schedule(
        name="both ways",
        rank_of=np.array([0, 1, 1, 0]),
        previous=np.array([-1, 0, -1, 2]),
        model_stage=np.array([0, 1, 0, 1]),
        first=np.array([0, 0, 1, 1]),
        count=np.ones(4, dtype=np.int64),
        actions=tuple(rows),
    )
    run = run_pipeline(schedule, PASSES)
    assert run.peak_in_flight.tolist() == [2, 2]
    assert run.end.tolist() == [1, 2, 4, 6, 1, 2, 4, 6]


def _fused() -> Schedule:
    row = [(F, 0, 0, -1, -1), (Kind.OVERLAP_F_B, 0, 1, 0, 0), (B, 0, 1, -1, -1)]
    return schedule_of([0], 2, [row])  # type: ignore[list-item]


@pytest.mark.parametrize(("overlap", "makespan"), [(None, 6.0), (2.5, 5.5)])
def test_a_fused_pair_takes_its_own_time(overlap: float | None, makespan: float) -> None:
    """F0 1, F1 and B0 together 3 or as given, B1 2; two micro-batches are held during the pair."""
    run = run_pipeline(_fused(), replace(PASSES, overlap=overlap))
    assert run.makespan_s == makespan
    assert run.peak_in_flight.tolist() == [2]


def _explicit() -> Schedule:
    """One micro-batch over two ranks, sent and received by actions; rank 1 posts its receives first of all."""
    return schedule_of(
        [0, 1],
        2,
        [
            [
                (Kind.UNSHARD, 0, -1),
                (F, 0, 0),
                (Kind.SEND_F, 0, 0),
                (F, 0, 1),
                (Kind.SEND_F, 0, 1),
                (Kind.RECV_B, 0, 0),
                (B, 0, 0),
                (Kind.RECV_B, 0, 1),
                (B, 0, 1),
                (Kind.REDUCE_GRAD, 0, -1),
                (Kind.RESHARD, 0, -1),
            ],
            [
                (Kind.RECV_F, 1, 0),
                (Kind.RECV_F, 1, 1),
                (F, 1, 0),
                (B, 1, 0),
                (Kind.SEND_B, 1, 0),
                (F, 1, 1),
                (B, 1, 1),
                (Kind.SEND_B, 1, 1),
            ],
        ],
    )


@pytest.mark.parametrize("hop", [0.0, 0.5])
def test_explicit_transfers_take_the_time_of_implied_ones(two_ranks: Schedule, hop: float) -> None:
    run = run_pipeline(_explicit(), PASSES, hop)
    implied = run_pipeline(two_ranks, PASSES, hop)
    computes = run.flat.kind <= Kind.OVERLAP_F_B
    assert run.start[computes].tolist() == implied.start.tolist()
    assert run.makespan_s == implied.makespan_s
    assert run.rank_bubble_s.tolist() == implied.rank_bubble_s.tolist()
    assert run.transfers == 0


@given(schedules(), st.sampled_from([0.0, 0.25, 1.7]))
@settings(max_examples=150)
def test_makespan_equals_a_plain_event_loop(schedule: Schedule, hop: float) -> None:
    loop = EventLoop(schedule, {F: 1.0, B: 2.3, I: 1.1, W: 1.2}, hop)
    run = run_pipeline(schedule, PassSeconds(1.0, 2.3, 1.1, 1.2), hop)
    assert run.makespan_s == pytest.approx(loop.run(), rel=1e-12)
    assert len(run.flat) + run.transfers == loop.handled


@given(schedules(), st.sampled_from([0.0, 0.25, 1.7]))
@settings(max_examples=50)
def test_both_engines_give_the_same(schedule: Schedule, hop: float) -> None:
    run = run_pipeline(schedule, PASSES, hop)
    shared = run_shared(pipeline_program(schedule, PASSES, hop))
    np.testing.assert_allclose(shared.start[: len(run.start)], run.start, rtol=1e-12, atol=1e-300)


def test_a_deadlock_names_who_waits_for_what(two_ranks: Schedule) -> None:
    """Rank 1 wants micro-batch 1 before it sends back 0; rank 0 sends 1 only after it has had 0 back."""
    rows = [
        Actions.of([(F, 0, 0), (B, 0, 0), (F, 0, 1), (B, 0, 1)]),
        Actions.of([(F, 1, 0), (F, 1, 1), (B, 1, 0), (B, 1, 1)]),
    ]
    with pytest.raises(PlannerError) as caught:
        run_pipeline(replace(two_ranks, actions=tuple(rows)), PASSES)
    assert caught.value.message == (
        "deadlock: B of stage 0, micro-batch 0 (rank 0) waits for B of stage 1, micro-batch 0 (rank 1), "
        "which stands behind F of stage 1, micro-batch 1 (rank 1), "
        "which waits for F of stage 0, micro-batch 1 (rank 0), "
        "which stands behind B of stage 0, micro-batch 0 (rank 0)"
    )


@pytest.mark.parametrize("field", ["forward", "backward", "input_gradient", "weight_gradient", "overlap"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), [[1.0, -2.0]]])
def test_bad_pass_times_are_refused(field: str, value: Any) -> None:
    with pytest.raises(PlannerError, match="pass times are finite and 0 or more") as caught:
        replace(PASSES, **{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("hop", [-1.0, float("nan"), float("inf")])
def test_bad_hops_are_refused(two_ranks: Schedule, hop: float) -> None:
    with pytest.raises(PlannerError, match="hop_s: found"):
        run_pipeline(two_ranks, PASSES, hop)


def test_pass_times_of_another_shape_are_refused(two_ranks: Schedule) -> None:
    with pytest.raises(PlannerError, match=r"shape \(3,\); accepted: .* = \(2, 2\)"):
        run_pipeline(two_ranks, replace(PASSES, forward=[1.0, 2.0, 3.0]))


@pytest.mark.parametrize("kept", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(two_ranks: Schedule, kept: float) -> None:
    with pytest.raises(PlannerError, match="accepted: 0 to 1"):
        run_pipeline(two_ranks, PASSES, kept_after_input_gradient=kept)
