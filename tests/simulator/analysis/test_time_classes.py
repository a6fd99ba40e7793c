"""Time classes by hand, and as a partition of the step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.jobs.prediction import EXPOSED_AXES
from planner.simulator.analysis.columns import step_end
from planner.simulator.analysis.time_classes import time_classes
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.program import Program, ProgramBuilder, TaskKind, What
from tests.simulator.analysis.programs import axis, links, single, two_stages


def test_two_stages_by_hand() -> None:
    program, execution, _ = two_stages()
    classes = time_classes(program, execution)
    first, second = classes.breakdown(0), classes.breakdown(1)
    assert classes.step_s == 11.5
    assert (first.compute_s, first.optimizer_s, first.host_s) == (6.0, 1.0, 0.0)
    # Rank 0 waits 2-5 for B0: the hop flies 4.5-5. It waits 7-8.5 for B1: tp flies all the time and ends last.
    assert {name: value for name, value in first.exposed.items() if value} == {"pp": 0.5, "tp": 1.5}
    assert first.bubble_s == pytest.approx(2.5)
    # Rank 1 waits 0-1.5 for F0 (hop 1-1.5), F1's hop came early, then the step's end 8.5-11.5: dp flies till 11.
    assert second.exposed["pp"] == pytest.approx(0.5)
    assert second.exposed["dp"] == pytest.approx(2.5)
    assert second.bubble_s == pytest.approx(1.0 + 0.5)
    for one in (first, second):
        assert one.total_s == pytest.approx(11.5, rel=1e-12)


def test_bubbles_of_two_stages() -> None:
    program, execution, _ = two_stages()
    classes = time_classes(program, execution)
    # Idle is bubble and waiting for hops: 2.5 + 0.5 on rank 0, 1.5 + 0.5 on rank 1.
    assert classes.busy.tolist() == pytest.approx([8.5, 9.5])
    assert classes.global_bubble_s == pytest.approx(11.5 - 9.5)
    # Between first and last task: rank 0 works 0-11.5, rank 1 1.5-8.5, where it never waits.
    assert classes.rank_bubble.tolist() == pytest.approx([3.0, 0.0])


def test_the_last_to_finish_names_the_axis() -> None:
    compute, transfer = TaskKind.COMPUTE, TaskKind.TRANSFER
    program, execution = single(
        [
            ("compute", compute, What.FORWARD, 0, 1, None),
            ("", transfer, What.EXCHANGE, 1, 4, "tp"),
            ("", transfer, What.EXCHANGE, 2, 6, "ep"),
            ("", transfer, What.REDUCE, 3, 5, "dp"),
            ("compute", compute, What.BACKWARD, 8, 9, None),
        ]
    )
    part = time_classes(program, execution).breakdown(0)
    # 1-2 only tp flies; 2-6 ep flies and ends last; dp never ends last; 6-8 nothing flies.
    assert {name: value for name, value in part.exposed.items() if value} == {"tp": 1.0, "ep": 4.0}
    assert part.bubble_s == pytest.approx(2.0)


def test_a_queue_of_transfers_is_exposed_as_a_whole() -> None:
    builder = ProgramBuilder()
    stream, queue = builder.stream(0, "compute"), builder.stream(0, "dp")
    compute = builder.add(2, kind=TaskKind.COMPUTE, stream=stream, position=[0, 1], seconds=1.0, actor=0)
    moved = builder.add(
        3, kind=TaskKind.TRANSFER, stream=queue, position=[0, 1, 2], seconds=[1.0, 2.0, 3.0],
        axis=[axis("dp"), axis("edp"), axis("dp")], actor=0, what=What.REDUCE,
    )  # fmt: skip
    builder.after(moved, compute[0])
    builder.after(compute[1], moved[2])
    program = builder.build(links(1, (1.0,)), actors=1)
    part = time_classes(program, run_fixed(program)).breakdown(0)
    assert part.exposed["dp"] == pytest.approx(4.0)
    assert part.exposed["edp"] == pytest.approx(2.0)
    assert part.bubble_s == 0.0


def test_host_waits_and_the_update_have_their_own_classes() -> None:
    program, execution = single(
        [
            ("compute", TaskKind.COMPUTE, What.FORWARD, 0, 2, None),
            ("compute", TaskKind.WAIT, What.HOST, 2, 5, None),
            ("compute", TaskKind.COMPUTE, What.OPTIMIZER, 6, 7, None),
        ]
    )
    part = time_classes(program, execution).breakdown(0, recompute_s=0.5)
    assert (part.compute_s, part.host_s, part.optimizer_s, part.bubble_s) == (2.0, 3.0, 1.0, 1.0)
    assert part.of_which == {"recompute_s": 0.5, "contention_s": 0.0}


def test_a_message_that_nobody_waits_for_is_not_part_of_the_step() -> None:
    program, execution = single(
        [
            ("compute", TaskKind.COMPUTE, What.FORWARD, 0, 2, None),
            ("pp", TaskKind.TRANSFER, What.HOP, 2, 3, "pp"),
        ]
    )
    classes = time_classes(program, execution)
    assert (classes.step_s, classes.breakdown(0).total_s) == (2.0, 2.0)


def test_slowed_computation_is_contention() -> None:
    program, execution = single([("compute", TaskKind.COMPUTE, What.FORWARD, 0, 2, None)])
    execution.end[0] = 2.5
    part = time_classes(program, execution).breakdown(0)
    assert part.compute_s == 2.5
    assert part.of_which["contention_s"] == pytest.approx(0.5)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Random programs of a few actors: every task may wait for any earlier ones."""
    actors = draw(st.integers(1, 3))
    builder = ProgramBuilder()
    count = draw(st.integers(1, 25))
    times = st.sampled_from([0.0, 0.25, 1.0, 1.5])
    for place in range(count):
        actor = draw(st.integers(0, actors - 1))
        moves = draw(st.booleans())
        what = draw(
            st.sampled_from(
                [What.EXCHANGE, What.HOP, What.REDUCE] if moves else [What.FORWARD, What.OPTIMIZER]
            )
        )
        name = draw(st.sampled_from(EXPOSED_AXES))
        lane = draw(st.sampled_from(["", name])) if moves else "compute"
        task = builder.add(
            1, kind=TaskKind.TRANSFER if moves else TaskKind.COMPUTE, position=place, seconds=draw(times),
            latency_s=draw(times) if moves else 0.0, axis=axis(name) if moves else -1, what=what, actor=actor,
            stream=builder.stream(actor, lane) if lane else -1,
        )  # fmt: skip
        earlier = draw(st.lists(st.integers(0, place - 1), max_size=3)) if place else []
        builder.after(task, np.array(earlier, dtype=np.int64))
    return builder.build(links(actors, (1.0,)), actors=actors)


@settings(max_examples=60)
@given(programs())
def test_classes_share_the_step_out(program: Program) -> None:
    execution = run_fixed(program)
    classes = time_classes(program, execution)
    for actor in range(program.actors):
        part = classes.breakdown(actor)
        assert part.total_s == pytest.approx(classes.step_s, rel=1e-9, abs=1e-12)
        assert min(part.bubble_s, part.compute_s, part.host_s, *part.exposed.values()) >= 0.0
        # Nothing is counted twice: what is left for the bubble is what no other class claims, never below zero.
        claimed = part.compute_s + part.optimizer_s + part.host_s + sum(part.exposed.values())
        assert claimed <= classes.step_s * (1 + 1e-12)


def _exposed_by_stepping(program: Program, actor: int) -> dict[str, float]:
    """The definition read out instant by instant, for programs whose times are multiples of a quarter second."""
    execution = run_fixed(program)
    tasks = program.tasks
    mine = [
        i
        for i in range(len(tasks))
        if tasks.stream[i] >= 0 and program.streams[tasks.stream[i]].name == "compute"
    ]
    mine = sorted((i for i in mine if tasks.actor[i] == actor), key=lambda i: tasks.position[i])
    result = dict.fromkeys(EXPOSED_AXES, 0.0)
    for quarter in range(round(step_end(program, execution) * 4)):
        now = quarter / 4 + 0.125
        if any(execution.start[i] <= now < execution.end[i] for i in mine):
            continue
        later = [i for i in mine if execution.start[i] > now]
        if later:
            waits = _transfers_before(program, later[0])
        else:
            waits = {
                i for i in range(len(tasks)) if tasks.kind[i] == TaskKind.TRANSFER and tasks.actor[i] == actor
            }
            waits -= {i for i in waits if tasks.what[i] == What.HOP}
        flying = [i for i in waits if execution.start[i] <= now < execution.end[i]]
        if flying:
            latest = max(float(execution.end[i]) for i in flying)
            names = {EXPOSED_AXES[tasks.axis[i]] for i in flying if execution.end[i] == latest}
            result[min(names)] += 0.25
    return result


def _transfers_before(program: Program, task: int) -> set[int]:
    tasks = program.tasks
    found: set[int] = set()
    todo = [task]
    while todo:
        one = todo.pop()
        earlier = program.before[program.before_start[one] : program.before_start[one + 1]].tolist()
        if one != task and tasks.stream[one] >= 0:
            queue = [i for i in range(len(tasks)) if tasks.stream[i] == tasks.stream[one]]
            earlier += [i for i in queue if tasks.position[i] < tasks.position[one]]
        for other in earlier:
            if tasks.kind[other] == TaskKind.TRANSFER and other not in found:
                found.add(other)
                todo.append(other)
    return found


@settings(max_examples=60)
@given(programs())
def test_exposed_time_is_what_the_definition_says(program: Program) -> None:
    classes = time_classes(program, run_fixed(program))
    for actor in range(program.actors):
        expected = sum(_exposed_by_stepping(program, actor).values())
        assert classes.exposed[actor].sum() == pytest.approx(expected, abs=1e-9)
