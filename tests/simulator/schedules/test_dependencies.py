"""Which action needs which, and what is said when it is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.errors import PlannerError
from planner.simulator.schedules.dependencies import MAX_ACTIONS, dependencies, flatten
from planner.simulator.schedules.schedule import Actions, Kind, Schedule
from tests.simulator.random_schedules import Pass, schedule_of

F, B, I, W = Kind.F, Kind.B, Kind.I, Kind.W  # noqa: E741
ROWS: list[list[Pass]] = [[(F, 0, 0), (I, 0, 0), (W, 0, 0)], [(F, 1, 0), (B, 1, 0)]]


def named(schedule: Schedule) -> set[tuple[str, str, bool]]:
    """Edges as words: later, earlier, whether it hops."""
    flat, edges = flatten(schedule), dependencies(schedule)
    return {
        (flat.name(int(later)), flat.name(int(earlier)), bool(hop))
        for later, earlier, hop in zip(edges.later, edges.earlier, edges.hop, strict=True)
    }


def test_a_micro_batch_goes_there_and_back() -> None:
    def name(kind: str, stage: int) -> str:
        return f"{kind} of stage {stage}, micro-batch 0"

    assert named(schedule_of([0, 1], 1, ROWS)) == {
        (name("F", 1), name("F", 0), True),
        (name("B", 1), name("F", 1), False),
        (name("I", 0), name("B", 1), True),
        (name("I", 0), name("F", 0), False),
        (name("W", 0), name("I", 0), False),
    }


def test_a_turn_on_one_rank_is_no_hop() -> None:
    rows: list[list[Pass]] = [[(F, 0, 0), (F, 1, 0), (B, 1, 0), (B, 0, 0)]]
    assert not dependencies(schedule_of([0, 0], 1, rows)).hop.any()


def test_a_fused_pair_needs_the_inputs_of_both_halves() -> None:
    upper = [(F, 0, 0), (F, 0, 1), (B, 0, 0), (B, 0, 1)]
    lower = [(F, 1, 0, -1, -1), (Kind.OVERLAP_F_B, 1, 1, 1, 0), (B, 1, 1, -1, -1)]
    pair = "OVERLAP_F_B of stage 1, micro-batch 1 with stage 1, micro-batch 0"
    edges = named(schedule_of([0, 1], 2, [upper, lower]))  # type: ignore[list-item]
    assert {edge for edge in edges if pair in edge[:2]} == {
        (pair, "F of stage 0, micro-batch 1", True),
        (pair, "F of stage 1, micro-batch 0", False),
        ("B of stage 0, micro-batch 0", pair, True),
        ("B of stage 1, micro-batch 1", pair, False),
    }


def test_data_goes_through_explicit_transfers() -> None:
    rows: list[list[Pass]] = [
        [(F, 0, 0), (Kind.SEND_F, 0, 0), (Kind.RECV_B, 0, 0), (B, 0, 0)],
        [(Kind.RECV_F, 1, 0), (F, 1, 0), (B, 1, 0), (Kind.SEND_B, 1, 0)],
    ]
    edges = named(schedule_of([0, 1], 1, rows))
    assert {(later[:6].split()[0], earlier[:6].split()[0], hop) for later, earlier, hop in edges} == {
        ("SEND_F", "F", False),
        ("RECV_F", "SEND_F", True),
        ("F", "RECV_F", False),
        ("B", "F", False),
        ("SEND_B", "B", False),
        ("RECV_B", "SEND_B", True),
        ("B", "RECV_B", False),
    }


@pytest.mark.parametrize(
    ("rank", "row", "message"),
    [
        (
            1,
            [(B, 1, 0)],
            "rank 1, column 0: B of stage 1, micro-batch 0 needs F of stage 1, micro-batch 0, which no",
        ),
        (
            1,
            [(F, 1, 0)],
            "rank 0, column 1: I of stage 0, micro-batch 0 needs B or I of stage 1, micro-batch 0",
        ),
        (0, [(F, 0, 0), (W, 0, 0)], "rank 0, column 1: W of stage 0, micro-batch 0 needs I of stage 0"),
        (
            1,
            [(F, 1, 0), (B, 1, 0), (B, 1, 0)],
            "rank 1, column 2: B of stage 1, micro-batch 0 repeats B of stage 1, micro-batch 0 at rank 1, column 1",
        ),
        (
            1,
            [(F, 0, 0)],
            "rank 1, column 0: F of stage 0, micro-batch 0 is not this rank's; stage 0 lies on rank 0",
        ),
        (
            1,
            [(F, 2, 0)],
            "rank 1, column 0: F of stage 2, micro-batch 0 has no such stage; the schedule has 0 to 1",
        ),
        (
            1,
            [(F, 1, 3)],
            "rank 1, column 0: F of stage 1, micro-batch 3 has no such micro-batch; the schedule has 0",
        ),
        (
            1,
            [(Kind.RECV_F, 1, 0), (F, 1, 0)],
            "rank 1, column 0: RECV_F of stage 1, micro-batch 0 needs SEND_F of",
        ),
        (0, [(F, 0, 0), (Kind.RECV_F, 0, 0)], "RECV_F of stage 0, micro-batch 0 has no neighbouring stage"),
        (
            1,
            [(F, 1, 0, -1, -1), (Kind.OVERLAP_F_B, 1, 0, 1, 7)],
            "with stage 1, micro-batch 7 has no such micro-batch",
        ),
    ],
)
def test_what_is_missing_is_named_by_rank_and_column(rank: int, row: list[Pass], message: str) -> None:
    schedule = schedule_of([0, 1], 1, ROWS)
    actions = list(schedule.actions)
    actions[rank] = Actions.of(row)
    with pytest.raises(PlannerError) as caught:
        dependencies(replace(schedule, actions=tuple(actions)))
    assert message in str(caught.value)


def test_too_many_actions_are_refused_before_any_are_copied() -> None:
    column = np.broadcast_to(np.int64(0), (MAX_ACTIONS + 1,))
    huge = Actions(column, column, column, column, column)
    with pytest.raises(PlannerError, match="100,000,001 actions; at most 100,000,000"):
        flatten(replace(schedule_of([0, 1], 1, ROWS), actions=(huge,)))


def test_an_empty_schedule_has_no_edges() -> None:
    schedule = schedule_of([0, 1], 1, [[], []])
    assert len(dependencies(schedule)) == 0
