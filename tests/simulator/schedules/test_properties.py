"""Whatever the shape, every generator gives a legal schedule; and how many buffers between ranks it needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.layouts.layout import NAMED_SCHEDULES
from planner.simulator.schedules.check import deadlock
from planner.simulator.schedules.generate import GENERATORS, make_schedule
from tests.simulator.legality import check_legal, smallest_capacity

TWO_CHUNKS = ("zb_v", "v_half", "v_min", "dualpipe_v")
SEVERAL_CHUNKS = ("interleaved_1f1b", "looped_bfs", "interleaved_zb")


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A schedule's name and a shape, most of them such that the schedule can have them."""
    name = draw(st.sampled_from(NAMED_SCHEDULES))
    shape: dict[str, Any] = {"ranks": draw(st.integers(1, 8)), "micro_batches": draw(st.integers(1, 24))}
    if name in TWO_CHUNKS:
        shape["chunks"] = 2
    elif name in SEVERAL_CHUNKS:
        shape["chunks"] = draw(st.integers(2, 4))
    elif name == "wave":
        shape["chunks"] = 2 * draw(st.integers(1, 3))
    elif name == "seq1f1b":
        shape["slices"] = draw(st.integers(1, 4))
    if name in ("interleaved_1f1b", "interleaved_zb"):
        shape["group"] = draw(st.none() | st.integers(1, 9))
        shape["rounds"] = shape["group"] is None and draw(st.booleans())
    if name == "dualpipe":
        shape["ranks"] += shape["ranks"] % 2
        shape["micro_batches"] = 2 * (shape["ranks"] + draw(st.integers(0, 4)))
    return name, shape


@settings(max_examples=200)
@given(drawn=shapes())
def test_every_schedule_is_legal(drawn: tuple[str, dict[str, Any]]) -> None:
    """Unless the generator says that the schedule cannot have that shape."""
    name, shape = drawn
    try:
        schedule = make_schedule(name, **shape)
    except PlannerError:
        reject()
    assert schedule.micro_batches == shape["micro_batches"] * shape.get("slices", 1)
    assert schedule.stages == shape["ranks"] * (2 if name == "dualpipe" else shape.get("chunks", 1))
    check_legal(schedule)
    assert deadlock(schedule) is None


def test_every_named_schedule_has_a_generator() -> None:
    assert set(GENERATORS) == set(NAMED_SCHEDULES)


BUFFERS = {
    **dict.fromkeys(("gpipe", "1f1b", "eager_1f1b", "zb_h1", "zb_h2", "seq1f1b", "v_half", "v_min"), 1),
    **dict.fromkeys(("interleaved_1f1b", "zb_v", "dualpipe", "dualpipe_v", "wave"), 2),
    "interleaved_zb": 4,
}
"""Messages between two ranks that must fit at once, 8 ranks; two when a link serves two chunks or both directions."""


@pytest.mark.parametrize("name", NAMED_SCHEDULES)
def test_few_buffers_are_enough_however_many_micro_batches(name: str) -> None:
    """Only looped BFS needs more for more micro-batches: all m of one chunk wait before 8 ranks, m/8 each and one more."""
    chunks = 2 if name in (*TWO_CHUNKS, *SEVERAL_CHUNKS, "wave") else 1
    slices = 4 if name == "seq1f1b" else 1
    for micro_batches in (16, 32):
        schedule = make_schedule(name, ranks=8, chunks=chunks, micro_batches=micro_batches, slices=slices)
        needed = smallest_capacity(schedule)
        assert needed == (micro_batches // 8 + 1 if name == "looped_bfs" else BUFFERS[name])
