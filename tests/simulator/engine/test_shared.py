"""The engine with shared links: small cases by hand, and conservation laws on random programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from planner.errors import PlannerError
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.engine.shared import run_shared
from planner.simulator.program import Program, ProgramBuilder, TaskKind
from tests.simulator.engine.programs import crowds, links, programs, queued_after, route_bytes
from tests.simulator.engine.reference import run_reference

MANY = settings(max_examples=100)


def test_two_transfers_share_a_link() -> None:
    """100 B each over 100 B/s, the second 0.5 s later: together from 0.5 s on, 50 B/s each; the first has 50 B left
    and ends at 1.5, the second then has 50 B left and ends at 2."""
    builder = ProgramBuilder()
    route = builder.route([(0, 100.0)], [])
    builder.add(2, kind=TaskKind.TRANSFER, seconds=1.0, latency_s=[0.0, 0.5], route=route)
    execution = run_shared(builder.build(links([100.0]), 1))
    assert execution.end.tolist() == [1.5, 2.0]
    assert execution.start.tolist() == [0.0, 0.0]
    assert execution.carried.tolist() == [200.0]


def test_uneven_loads() -> None:
    """A: 100 B on link 0; B: 50 B there and 200 B on link 1; 100 B/s each. A starts at 0.5, when B has 150 of 200 left.

    Both then rise to 80 B/s (link 0: 80 + 80 / 4 = 100). A ends at 0.5 + 100 / 80 = 1.75; B has 150 - 100 = 50 left and
    ends at 2.25. Beside them computation of 2 s at 0.9 of its speed ends at 2 / 0.9.
    """
    builder = ProgramBuilder()
    first, second = builder.route([(0, 100.0)], [0]), builder.route([(0, 50.0), (1, 200.0)], [0])
    builder.add(1, kind=TaskKind.TRANSFER, seconds=1.0, latency_s=0.5, route=first)
    builder.add(1, kind=TaskKind.TRANSFER, seconds=2.0, route=second)
    builder.add(1, kind=TaskKind.COMPUTE, seconds=2.0, stream=builder.stream(0, "compute"), actor=0)
    execution = run_shared(builder.build(links([100.0, 100.0]), 1, slowdown=0.1))
    np.testing.assert_allclose(execution.end, [1.75, 2.25, 2 / 0.9], rtol=1e-14)
    np.testing.assert_allclose(execution.carried, [150, 200], rtol=1e-14)


def test_what_one_flow_frees_reaches_flows_on_other_links() -> None:
    """A: 1 B on link 0; B: 4 B on links 0 and 1; C: 9 B on link 1; link 0 carries 1 B/s, link 1 3 B/s.

    A and B share link 0: 1/2 each, so A ends at 2; C has the other 5/2 of link 1. Then B (3 left) takes link 0 whole and C
    (9 - 5 = 4 left) gets only 2: C ends at 4, B has 3 - 2 = 1 left and ends at 5.
    """
    builder = ProgramBuilder()
    rows = [[(0, 1.0)], [(0, 4.0), (1, 4.0)], [(1, 9.0)]]
    builder.add(
        3,
        kind=TaskKind.TRANSFER,
        seconds=[1.0, 4.0, 3.0],
        route=[builder.route(row, []) for row in rows],
    )
    assert run_shared(builder.build(links([1.0, 3.0]), 0)).end.tolist() == [2.0, 5.0, 4.0]


def test_computation_is_slowed_only_while_bytes_move() -> None:
    """Latency to 1, bytes from 1 to 2: of 3 s of computation 1 s is done by 1, 0.75 s by 2, the rest 1.25 s later."""
    builder = ProgramBuilder()
    builder.add(
        1, kind=TaskKind.TRANSFER, seconds=1.0, latency_s=1.0, route=builder.route([(0, 1.0)], [0, 1])
    )
    for actor in range(3):
        builder.add(1, seconds=3.0, stream=builder.stream(actor, "compute"), actor=actor)
    execution = run_shared(builder.build(links([1.0]), 3, slowdown=0.25))
    assert execution.end.tolist() == [2.0, 3.25, 3.25, 3.0]


def test_a_transfer_of_no_seconds_is_instantaneous_and_counted() -> None:
    builder = ProgramBuilder()
    builder.add(1, kind=TaskKind.TRANSFER, latency_s=2.0, route=builder.route([(0, 8.0)], [0]))
    execution = run_shared(builder.build(links([1.0]), 1))
    assert execution.end.tolist() == [2.0]
    assert execution.carried.tolist() == [8.0]


def test_next_to_no_time_is_no_trouble() -> None:
    builder = ProgramBuilder()
    builder.add(2, kind=TaskKind.TRANSFER, seconds=1e-320, route=builder.route([(0, 8.0)], []))
    execution = run_shared(builder.build(links([8.0]), 0))
    np.testing.assert_allclose(execution.carried, [16.0])


@pytest.mark.parametrize(
    ("column", "value"), [("stream", 1), ("route", 1), ("actor", 5), ("route", -2), ("stream", -2)]
)
def test_what_points_to_nothing_is_noticed(column: str, value: int) -> None:
    """Compiled code reads beyond an array without a word."""
    builder = ProgramBuilder()
    builder.stream(0, "compute")
    builder.route([(0, 1.0)], [0])
    builder.add(1, kind=TaskKind.TRANSFER, seconds=1.0, **{column: value})
    for engine in (run_shared, run_fixed):
        with pytest.raises(IndexError, match=f"{column} runs from {value} to {value}"):
            engine(builder.build(links([1.0]), 1))


def test_an_empty_program_ends_at_once() -> None:
    assert run_shared(ProgramBuilder().build(links([1.0]), 0)).makespan_s == 0


def test_positions_order_a_stream_whatever_the_order_of_tasks() -> None:
    builder = ProgramBuilder()
    builder.add(3, seconds=[1.0, 2.0, 4.0], stream=builder.stream(0, "compute"), position=[9, 7, 8], actor=0)
    program = builder.build(links([]), 1)
    assert run_shared(program).start.tolist() == run_fixed(program).start.tolist() == [6.0, 0.0, 2.0]


def test_streams_that_wait_for_each_other_deadlock() -> None:
    builder = ProgramBuilder()
    streams = [builder.stream(actor, "compute") for actor in (0, 1)]
    tasks = builder.add(
        4,
        seconds=1.0,
        stream=[streams[0], streams[0], streams[1], streams[1]],
        position=[0, 1, 0, 1],
        actor=[0, 0, 1, 1],
        stage=[0, 0, 1, 1],
        micro_batch=[0, 1, 1, 0],
    )
    builder.after(tasks[0], tasks[3])
    builder.after(tasks[2], tasks[1])
    program = builder.build(links([]), 2)
    for engine in (run_shared, run_fixed):
        with pytest.raises(PlannerError) as caught:
            engine(program)
        assert caught.value.message == (
            "deadlock: F of stage 0, micro-batch 0 (device 0) waits for F of stage 1, micro-batch 0 (device 1), "
            "which stands behind F of stage 1, micro-batch 1 (device 1), "
            "which waits for F of stage 0, micro-batch 1 (device 0), "
            "which stands behind F of stage 0, micro-batch 0 (device 0)"
        )


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("column", ["seconds", "latency_s"])
def test_bad_times_are_refused(seconds: float, column: str) -> None:
    builder = ProgramBuilder()
    builder.add(1, kind=TaskKind.TRANSFER, **{column: seconds}, what=8, stage=3, micro_batch=7, actor=2)
    program = builder.build(links([]), 3)
    for engine in (run_shared, run_fixed):
        with pytest.raises(PlannerError, match=f"hop of stage 3, micro-batch 7 .device 2. has {column}"):
            engine(program)


@pytest.mark.parametrize("slowdown", [-0.1, 1.0, float("nan")])
def test_a_slowdown_leaves_some_speed(slowdown: float) -> None:
    with pytest.raises(PlannerError, match="accepted: 0 up to"):
        run_shared(ProgramBuilder().build(links([]), 1, slowdown))


@given(programs() | crowds())
@MANY
def test_times_equal_a_plain_python_engine(program: Program) -> None:
    execution = run_shared(program)
    start, end = run_reference(program)
    np.testing.assert_allclose(execution.start, start, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(execution.end, end, rtol=1e-9, atol=1e-9)


@given(programs() | crowds())
@MANY
def test_bytes_and_time_are_conserved(program: Program) -> None:
    execution = run_shared(program)
    assert np.isfinite(execution.start).all()
    assert np.isfinite(execution.end).all()
    np.testing.assert_allclose(execution.carried, route_bytes(program), rtol=1e-9)
    assert (execution.carried <= _capacity_used_fully(program, execution.makespan_s)).all()
    for task, needed in enumerate(queued_after(program)):
        latest = max((execution.end[earlier] for earlier in needed), default=0.0)
        np.testing.assert_allclose(execution.start[task], latest, rtol=1e-12)
    own = program.tasks.seconds + program.tasks.latency_s
    assert (execution.end - execution.start >= own * (1 - 1e-9) - 1e-12).all()


def _capacity_used_fully(
    program: Program, makespan: float
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What a link can carry in the time, and what takes no time."""
    tasks = program.tasks
    instant = replace(program, tasks=replace(tasks, route=np.where(tasks.seconds == 0, tasks.route, -1)))
    return program.links.capacity * makespan * (1 + 1e-9) + route_bytes(instant) * (1 + 1e-9)


@given(programs())
@MANY
def test_busy_and_idle_add_up_on_every_stream(program: Program) -> None:
    execution = run_shared(program)
    for stream in range(len(program.streams)):
        rows = np.flatnonzero(program.tasks.stream == stream)
        rows = rows[np.argsort(program.tasks.position[rows])]
        edges = np.concatenate(
            [[0], np.stack([execution.start[rows], execution.end[rows]], 1).ravel(), [execution.makespan_s]]
        )
        spans = np.diff(edges)
        assert (spans >= -1e-12 * (1 + execution.makespan_s)).all()
        idle, busy = spans[::2].clip(0).sum(), spans[1::2].sum()
        assert busy + idle == pytest.approx(execution.makespan_s, rel=1e-9)


@given(programs(slowdown=0.0, endless=True))
@MANY
def test_without_contention_both_engines_agree(program: Program) -> None:
    shared, fixed = run_shared(program), run_fixed(program)
    np.testing.assert_allclose(shared.start, fixed.start, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(shared.end, fixed.end, rtol=1e-12, atol=1e-300)
    # a short transfer late in the program: rate x (end - start) keeps as many digits as the clock leaves
    np.testing.assert_allclose(shared.carried, fixed.carried, rtol=1e-9)


@given(programs())
@MANY
def test_contention_only_delays(program: Program) -> None:
    """Orders on streams are fixed, so longer tasks never let anything end earlier."""
    shared, fixed = run_shared(program), run_fixed(program)
    assert (shared.end >= fixed.end * (1 - 1e-12)).all()


@given(programs())
@MANY
def test_units_of_time_do_not_matter(program: Program) -> None:
    scale = 1e-6
    tasks = replace(
        program.tasks, seconds=program.tasks.seconds * scale, latency_s=program.tasks.latency_s * scale
    )
    faster = replace(
        program, tasks=tasks, links=replace(program.links, capacity=program.links.capacity / scale)
    )
    np.testing.assert_allclose(run_shared(faster).end, run_shared(program).end * scale, rtol=1e-9)
