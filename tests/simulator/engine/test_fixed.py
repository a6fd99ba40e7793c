"""The engine without sharing: longest paths by hand and against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from planner.errors import PlannerError
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.program import Program, ProgramBuilder, TaskKind
from tests.simulator.engine.programs import links, programs, queued_after, route_bytes


def test_a_diamond_takes_its_longer_side() -> None:
    """0 (1 s) before 1 (2 s) and 2 (latency 1 s, 3 s); 3 (1 s) after both: 1 + 4 + 1."""
    builder = ProgramBuilder()
    tasks = builder.add(
        4, kind=[0, 0, TaskKind.TRANSFER, 0], seconds=[1.0, 2.0, 3.0, 1.0], latency_s=[0, 0, 1.0, 0]
    )
    builder.after(tasks[[1, 2, 3, 3]], tasks[[0, 0, 1, 2]])
    execution = run_fixed(builder.build(links([]), 1))
    assert execution.start.tolist() == [0, 1, 1, 5]
    assert execution.end.tolist() == [1, 3, 5, 6]
    assert execution.makespan_s == 6


def test_transfers_do_not_disturb_each_other() -> None:
    builder = ProgramBuilder()
    route = builder.route([(0, 4.0), (1, 1.0)], [0])
    builder.add(3, kind=TaskKind.TRANSFER, seconds=2.0, route=[route, route, -1])
    execution = run_fixed(builder.build(links([1.0, 1.0]), 1, slowdown=0.5))
    assert execution.end.tolist() == [2, 2, 2]
    assert execution.carried.tolist() == [8, 2]


def test_a_long_chain_needs_no_recursion() -> None:
    builder = ProgramBuilder()
    tasks = builder.add(200_000, seconds=1.0)
    builder.after(tasks[:-1], tasks[1:])
    assert run_fixed(builder.build(links([]), 1)).makespan_s == 200_000


def test_a_task_that_waits_for_itself() -> None:
    builder = ProgramBuilder()
    builder.after(builder.add(1, seconds=1.0, what=10, actor=4), 0)
    with pytest.raises(PlannerError, match=r"deadlock: reduce \(device 4\) waits for itself$"):
        run_fixed(builder.build(links([]), 5))


def test_a_long_circle_is_cut_short() -> None:
    builder = ProgramBuilder()
    tasks = builder.add(30, seconds=1.0, stage=np.arange(30), micro_batch=0)
    builder.after(tasks, np.roll(tasks, 1))
    with pytest.raises(PlannerError, match=r"stage \d+, micro-batch 0, and so on \(22 more\)$"):
        run_fixed(builder.build(links([]), 1))


@given(programs())
@settings(max_examples=100)
def test_a_task_starts_when_all_that_it_needs_has_ended(program: Program) -> None:
    execution = run_fixed(program)
    for task, needed in enumerate(queued_after(program)):
        assert execution.start[task] == max((execution.end[earlier] for earlier in needed), default=0.0)
    own = program.tasks.seconds + program.tasks.latency_s
    np.testing.assert_array_equal(execution.end, execution.start + own)
    np.testing.assert_allclose(execution.carried, route_bytes(program), rtol=1e-12)
