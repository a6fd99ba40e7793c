"""Whatever the shape, every generator gives a legal schedule; and how many buffers between ranks it needs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.layouts.layout import NAMED_SCHEDULES
from planner.simulator.schedules.check import deadlock
from planner.simulator.schedules.generate import GENERATORS, make_schedule
from planner.simulator.schedules.schedule import Schedule
from tests.simulator.legality import check_legal, smallest_capacity

TWO_CHUNKS = ("zb_v", "v_half", "v_min", "dualpipe_v")
SEVERAL_CHUNKS = ("interleaved_1f1b", "looped_bfs", "interleaved_zb")
WHOLE_ROUNDS = ("interleaved_1f1b", "interleaved_zb")


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    name = draw(st.sampled_from(NAMED_SCHEDULES))
    ranks = draw(st.integers(1, 7))
    chunks = 1
    micro_batches = draw(st.integers(1, 15))
    slices = 1
    if name in TWO_CHUNKS:
        chunks = 2
    elif name in SEVERAL_CHUNKS:
        ranks = max(ranks, 2)
        chunks = draw(st.integers(2, 4))
    elif name == "wave":
        chunks = 2 * draw(st.integers(1, 3))
    elif name == "seq1f1b":
        slices = draw(st.integers(1, 4))
    if name in WHOLE_ROUNDS:
        micro_batches = ranks * draw(st.integers(1, 3))
    if name in ("dualpipe", "dualpipe_v", "zb_v"):
        ranks += ranks % 2
        micro_batches = 2 * ranks + 2 * draw(st.integers(0, 4))
    return make_schedule(name, ranks=ranks, chunks=chunks, micro_batches=micro_batches, slices=slices)


@settings(deadline=None, max_examples=150)
@given(schedule=schedules())
def test_every_schedule_is_legal(schedule: Schedule) -> None:
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
