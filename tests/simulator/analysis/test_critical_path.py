"""The critical path by hand, and as a partition of the makespan."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulator.analysis.critical_path import CriticalPath, PathShare, critical_path
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from tests.simulator.analysis.programs import two_stages


def test_two_stages_by_hand() -> None:
    program, execution, schedule = two_stages()
    path = critical_path(program, execution, schedule)
    seconds = {share.cause: share.seconds for share in path.shares}
    # F0, hop, F0, B0 on rank 1, hop, B0, the tp transfer, B1, update: 0 to 11.5 without a gap.
    assert seconds == pytest.approx(
        {
            "compute of stage 0": 1 + 2 + 2,
            "compute of stage 1": 1 + 2,
            "waits for tp collectives of stage 0": 1.5,
            "optimizer of pipeline rank 0": 1.0,
            "waits for the pipeline hop stage 0 -> 1": 0.5,
            "waits for the pipeline hop stage 1 -> 0": 0.5,
        }
    )
    assert path.shares[0].words == "43 % compute of stage 0"
    assert path.stretched_s == pytest.approx(0.0)


def test_small_causes_go_together() -> None:
    shares = (
        PathShare("compute of stage 7", 80.0, 0.8, "compute of other stages"),
        PathShare("waits for the pipeline hop stage 6 -> 7", 9.0, 0.09, "waits for other pipeline hops"),
        *(PathShare(f"compute of stage {i}", 0.9, 0.009, "compute of other stages") for i in range(6)),
        *(PathShare(f"waits for the pipeline hop stage {i} -> 0", 0.8, 0.008, "waits for other pipeline hops") for i in range(6)),
        PathShare("optimizer of pipeline rank 0", 0.8, 0.008, "optimizer of other stages"),
    )  # fmt: skip
    path = CriticalPath((), shares, 0.0)
    assert [share.words for share in path.top()] == [
        "80 % compute of stage 7",
        "9 % waits for the pipeline hop stage 6 -> 7",
        "5 % compute of other stages",
        "5 % waits for other pipeline hops",
        "1 % optimizer of pipeline rank 0",
    ]
    # Three kinds fit in three lines only without single causes.
    assert [share.words for share in path.top(3)] == [
        "85 % compute of all stages",
        "14 % waits for all pipeline hops",
        "1 % optimizer of pipeline rank 0",
    ]
    assert [share.words for share in path.top(1)] == [
        "85 % compute of all stages",
        "15 % the rest (2 causes)",
    ]


@pytest.mark.parametrize("count", [1, 3, 10])
def test_the_list_for_people_adds_up_too(count: int) -> None:
    schedule = make_schedule("1f1b", ranks=8, chunks=1, micro_batches=64)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0), hop_s=0.25)
    top = critical_path(program, run_fixed(program), schedule).top(count)
    assert len(top) <= count + 1
    assert sum(share.share for share in top) == pytest.approx(1.0, rel=1e-9)


def test_1f1b_waits_for_as_many_hops_as_its_formula_says() -> None:
    # 2(p - 1)(m / p + 1) - 2 hops are exposed for p | m (PipeDream-flush order with blocking sends).
    ranks, micro_batches, hop = 4, 8, 0.125
    schedule = make_schedule("1f1b", ranks=ranks, chunks=1, micro_batches=micro_batches)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0), hop_s=hop)
    path = critical_path(program, run_fixed(program), schedule)
    waited = sum(share.seconds for share in path.shares if "hop" in share.cause)
    assert waited == pytest.approx(hop * (2 * (ranks - 1) * (micro_batches / ranks + 1) - 2))
    assert all("hop stage" in share.cause for share in path.shares if "hop" in share.cause)


@settings(max_examples=30)
@given(
    name=st.sampled_from(["gpipe", "1f1b", "zb_h1", "interleaved_1f1b", "dualpipe_v"]),
    ranks=st.integers(2, 4),
    rounds=st.integers(2, 4),
    hop=st.floats(0.0, 3.0),
    forward=st.floats(0.1, 5.0),
)
def test_shares_add_up(name: str, ranks: int, rounds: int, hop: float, forward: float) -> None:
    chunks = 2 if name in ("interleaved_1f1b", "dualpipe_v") else 1
    schedule = make_schedule(name, ranks=ranks, chunks=chunks, micro_batches=ranks * rounds)
    program = pipeline_program(schedule, PassSeconds(forward, 2.0, 1.0, 1.0), hop_s=hop)
    execution = run_fixed(program)
    path = critical_path(program, execution, schedule)
    assert sum(share.seconds for share in path.shares) == pytest.approx(execution.makespan_s, rel=1e-9)
    assert sum(share.share for share in path.shares) == pytest.approx(1.0, rel=1e-9)
    # A step that is one chain without a pause: nothing idle on it.
    assert all(share.cause != "idle" for share in path.shares)


def test_devices_that_share_a_pipeline_rank_are_named() -> None:
    program, execution, schedule = two_stages()
    # Both actors stand for devices of one pipeline rank.
    path = critical_path(program, execution, schedule, rank_of=[0, 0], devices=[4, 9])
    causes = {share.cause for share in path.shares}
    assert {"compute of stage 0 on device 4", "compute of stage 1 on device 9"} <= causes
    assert "optimizer of pipeline rank 0 on device 4" in causes
    assert {share.kind for share in path.shares if "compute" in share.cause} == {
        "compute of other stages and devices"
    }
    alone = critical_path(program, execution, schedule, rank_of=[0, 1], devices=[4, 9])
    assert all("device" not in share.cause for share in alone.shares)
