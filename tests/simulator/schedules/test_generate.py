"""Every schedule by its name; shapes that it refuses."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.layouts.layout import SCHEDULES
from planner.simulator.schedules.generate import GENERATORS, make_schedule
from tests.simulator.legality import check_legal

CHUNKS = {
    "zb_v": 2,
    "v_half": 2,
    "v_min": 2,
    "dualpipe_v": 2,
    "wave": 4,
    "interleaved_1f1b": 3,
    "looped_bfs": 2,
}


def test_every_name_has_a_generator() -> None:
    assert set(GENERATORS) == set(SCHEDULES) - {"csv"}


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_makes_a_legal_schedule_of_that_name_and_shape(name: str) -> None:
    chunks, slices = CHUNKS.get(name, 1), 2 if name == "seq1f1b" else 1
    schedule = make_schedule(name, ranks=4, chunks=chunks, micro_batches=8, slices=slices)
    check_legal(schedule)
    assert (schedule.name, schedule.ranks, schedule.slices) == (name, 4, slices)
    assert schedule.micro_batches == 8 * slices
    assert schedule.stages == (8 if name == "dualpipe" else 4 * chunks)


def test_options_of_interleaved_schedules() -> None:
    wide = make_schedule("interleaved_1f1b", ranks=2, chunks=2, micro_batches=6, group=3)
    rounds = make_schedule("interleaved_1f1b", ranks=2, chunks=2, micro_batches=6, rounds=True)
    assert wide.actions[0].micro_batch.tolist() != rounds.actions[0].micro_batch.tolist()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("zb_vv", {}, "unknown schedule 'zb_vv'; did you mean 'zb_v'"),
        ("1f1b", {"ranks": 0}, "0 ranks; accepted: at least 1"),
        ("1f1b", {"micro_batches": -3}, "-3 micro-batches; accepted: at least 1"),
        ("1f1b", {"chunks": 2}, "2 chunks per rank; accepted: 1"),
        ("zb_v", {"chunks": 3}, "3 chunks per rank; accepted: 2"),
        ("wave", {"chunks": 3}, "vpp must be even; found 3"),
        ("dualpipe", {"ranks": 3}, "8 micro-batches on 3 ranks"),
        ("zb_h1", {"rounds": True}, "knows no groups"),
        ("gpipe", {"group": 4}, "knows no groups"),
        ("gpipe", {"slices": 2}, "2 slices"),
        ("1f1b", {"ranks": 1000, "micro_batches": 500_000}, "1e.09 actions; accepted: at most 1e.08"),
        ("zb_v", {"chunks": 2, "micro_batches": 10**12}, "actions; accepted: at most"),
    ],
)
def test_refusals(name: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(PlannerError, match=message) as caught:
        make_schedule(name, **{"ranks": 4, "micro_batches": 8, **options})  # type: ignore[arg-type]
    assert caught.value.field == "schedule"
