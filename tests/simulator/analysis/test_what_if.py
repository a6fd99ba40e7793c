"""What-if by hand, and never a loss without sharing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulator.analysis.what_if import what_if
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.program import Program, ProgramBuilder, TaskKind, What
from planner.simulator.schedules.generate import make_schedule
from tests.simulator.analysis.programs import axis, links, two_stages

LEVELS = ("nvlink", "infiniband")


def chain() -> Program:
    """1.1 s of compute, then 2.2 s + 1.1 s latency on two levels (bytes over capacity 1 : 3), then 0.55 s of update."""
    builder = ProgramBuilder()
    stream = builder.stream(0, "compute")
    compute, update = builder.add(
        2, kind=TaskKind.COMPUTE, stream=stream, position=[0, 1], seconds=[1.1, 0.55], actor=0,
        what=[What.FORWARD, What.OPTIMIZER],
    )  # fmt: skip
    transfer = builder.add(
        1, kind=TaskKind.TRANSFER, seconds=2.2, latency_s=1.1, what=What.REDUCE, axis=axis("dp"), actor=0,
        route=builder.route([(0, 100.0), (2, 30.0)], [0]),
    )  # fmt: skip
    builder.after(transfer, compute)
    builder.after(update, transfer)
    return builder.build(links(1, (100.0, 10.0)), actors=1)


def test_a_chain_by_hand() -> None:
    program = chain()
    answers = what_if(program, run_fixed, 4.95, LEVELS)
    saved = {item.resource: item.saved_s for item in answers}
    # A tenth faster: seconds / 1.1, so 1.1 s become 1.0 s. Of the transfer's 2.2 s a quarter is nvlink's, the rest infiniband's.
    assert saved == pytest.approx(
        {
            "compute of all devices": 0.1,
            "latency of the network": 0.1,
            "bandwidth of infiniband": 0.15,
            "optimizer update (device memory bandwidth)": 0.05,
            "bandwidth of nvlink": 0.05,
        }
    )
    assert answers[0].resource == "bandwidth of infiniband"
    assert answers[0].step_time_s == pytest.approx(4.8)
    assert answers[0].share == pytest.approx(0.15 / 4.95)


def test_only_what_is_used_is_tried() -> None:
    program, execution, _ = two_stages()
    names = {item.resource for item in what_if(program, run_fixed, execution.makespan_s, ())}
    assert "bandwidth of the host link" in names  # Level 0 lies beyond the named levels: the host's.
    assert "host (kernel launches)" not in names


def test_progress_is_told() -> None:
    seen: list[tuple[float, str]] = []
    what_if(chain(), run_fixed, 4.95, LEVELS, progress=lambda done, message: seen.append((done, message)))
    assert len(seen) == 5
    assert seen[0] == (0.0, "what if: compute of all devices")


@settings(max_examples=30)
@given(
    name=st.sampled_from(["gpipe", "1f1b", "zb_h1", "interleaved_1f1b"]),
    ranks=st.integers(2, 4),
    hop=st.floats(0.0, 3.0),
    faster=st.floats(0.01, 1.0),
)
def test_nothing_faster_makes_the_step_slower(name: str, ranks: int, hop: float, faster: float) -> None:
    chunks = 2 if name == "interleaved_1f1b" else 1
    schedule = make_schedule(name, ranks=ranks, chunks=chunks, micro_batches=2 * ranks)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.5, 0.5), hop_s=hop)
    step = run_fixed(program).makespan_s
    for item in what_if(program, run_fixed, step, LEVELS, faster=faster):
        assert item.saved_s >= -1e-9
        assert item.saved_s <= step * (1 - 1 / (1 + faster)) * (1 + 1e-9)
