"""The picture of memory: its limits, its panels, its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.jobs.prediction import MEMORY_CLASSES
from planner.report.memory_plot import LOOKS, Limits, chosen_ranks, draw_memory
from planner.simulator.analysis.memory import MemoryTimeline, RankFacts, StageFacts, memory_timelines
from tests.report.samples import GIB, prediction
from tests.simulator.analysis.programs import two_stages


def lines() -> tuple[MemoryTimeline, ...]:
    program, execution, schedule = two_stages()
    stages = [StageFacts(8 * GIB, 2 * GIB), StageFacts(8 * GIB, 2 * GIB, 4 * GIB, 1 * GIB, head_share=0.3)]
    states = RankFacts({"parameters": 20 * GIB}, {"parameters": 20 * GIB, "optimizer_transient": 9 * GIB})
    return memory_timelines(program, execution, schedule, stages, [states, states], [0, 1], [0, 1])


def test_every_class_has_its_own_look() -> None:
    assert set(LOOKS) == set(MEMORY_CLASSES)
    assert len(set(LOOKS.values())) == len(LOOKS)


def test_live_bytes_leave_room_for_allocator_context_and_reserve() -> None:
    # 80 GiB, of which the context takes 60 - 58 and the user 4; the allocator needs 58 for 55 live ones.
    limits = Limits.of(prediction().memory)
    assert limits.capacity_bytes == 80 * GIB
    assert limits.live_bytes == pytest.approx((80 - 2 - 4) * GIB * 55 / 58)


def test_nothing_is_left_of_a_device_that_the_context_fills() -> None:
    memory = replace(prediction().memory, reserved_bytes=0.0, device_used_bytes=90 * GIB, peak_bytes=0.0)
    assert Limits.of(memory).live_bytes == 0.0


@pytest.mark.parametrize(
    ("peaks", "ranks"),
    [([5.0], (0,)), ([5.0, 4.0], (0, 1)), ([1.0, 2.0, 9.0, 3.0, 1.0, 1.0, 2.0], (0, 2, 3, 6))],
)
def test_first_last_fullest_and_middle_are_shown(peaks: list[float], ranks: tuple[int, ...]) -> None:
    assert chosen_ranks(peaks) == ranks


def test_a_panel_per_device(tmp_path: Path) -> None:
    path = tmp_path / "memory.png"
    draw_memory(path, lines(), ["rank 0", "rank 1"], Limits(80 * GIB, 70 * GIB), "two stages")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    first = path.read_bytes()
    draw_memory(path, lines(), ["rank 0", "rank 1"], Limits(80 * GIB, 70 * GIB), "two stages")
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", ["out.bmp", "missing/out.png"])
def test_a_target_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(PlannerError, match=r"ending|cannot be written"):
        draw_memory(tmp_path / name, lines(), ["0", "1"], Limits(80 * GIB, 70 * GIB), "two stages")
    assert list(tmp_path.iterdir()) == []
