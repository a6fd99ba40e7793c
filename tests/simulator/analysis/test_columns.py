"""Array helpers against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.simulator.analysis.columns import (
    expand,
    last_task,
    members_of,
    running_minimum,
    step_end,
    successors,
)
from planner.simulator.program import Execution, ProgramBuilder, no_links
from tests.simulator.analysis.programs import two_stages


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=6), st.data())
def test_expand_writes_ragged_rows_out(rows: list[list[int]], data: st.DataObject) -> None:
    start = np.cumsum([0, *(len(row) for row in rows)])
    entries = np.array([value for row in rows for value in row], dtype=np.int64)
    wanted = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8))
    owner, entry = expand(start, np.array(wanted, dtype=np.int64))
    expected = [(place, value) for place, row in enumerate(wanted) for value in rows[row]]
    assert list(zip(owner.tolist(), entries[entry].tolist(), strict=True)) == expected


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=5), max_size=5))
def test_running_minimum_starts_anew_in_every_group(groups: list[list[float]]) -> None:
    values = np.array([value for group in groups for value in group])
    index = np.array([place for place, group in enumerate(groups) for _ in group], dtype=np.int64)
    expected = [min(group[: i + 1]) for group in groups for i in range(len(group))]
    assert running_minimum(values, index).tolist() == expected


def test_successors_turn_the_edges_round() -> None:
    program, _, _ = two_stages()
    start, later = successors(program)
    pairs = {
        (task, int(other))
        for task in range(len(program.tasks))
        for other in later[start[task] : start[task + 1]]
    }
    before = {
        (int(earlier), task)
        for task in range(len(program.tasks))
        for earlier in program.before[program.before_start[task] : program.before_start[task + 1]]
    }
    assert pairs == before


def test_members_come_from_the_route_else_from_the_task() -> None:
    program, _, _ = two_stages()
    # A hop of rank 1 names both ends; the tp transfer has no route and belongs to actor 0.
    which, actor = members_of(program, np.array([12, 14]))
    assert sorted(zip(which.tolist(), actor.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]


def test_the_step_ends_with_the_last_computation() -> None:
    program, execution, _ = two_stages()
    assert last_task(program, execution) == 8
    assert step_end(program, execution) == 11.5


def test_an_empty_program_takes_no_time() -> None:
    program = ProgramBuilder().build(no_links(), actors=1)
    assert step_end(program, Execution(np.zeros(0), np.zeros(0), np.zeros(0))) == pytest.approx(0.0)
