"""The timeline shows every pass where it ran."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.report.timeline import KEYS, LOOKS, draw_timeline, timeline_blocks
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.schedules.schedule import Kind
from tests.simulator.analysis.programs import two_stages


def test_blocks_of_two_stages_by_hand() -> None:
    blocks = timeline_blocks(*two_stages(), rows=[1, 0])
    assert sorted(blocks) == ["B", "F", "exposed", "update"]
    forward = blocks["F"]
    drawn = sorted(
        zip(forward.row.tolist(), forward.start.tolist(), forward.end.tolist(), forward.text, strict=True)
    )
    # Row 0 is actor 1: it was asked for first.
    assert drawn == [(0, 1.5, 2.5, "0"), (0, 4.5, 5.5, "1"), (1, 0.0, 1.0, "0"), (1, 1.0, 2.0, "1")]
    waits = blocks["exposed"]
    spans = sorted(zip(waits.row.tolist(), waits.start.tolist(), waits.end.tolist(), strict=True))
    assert spans == [(0, 1.0, 1.5), (0, 8.5, 11.0), (1, 4.5, 5.0), (1, 7.0, 8.5)]


def test_a_row_that_is_not_asked_for_stays_out() -> None:
    blocks = timeline_blocks(*two_stages(), rows=[1])
    assert {int(row) for block in blocks.values() for row in block.row} == {0}
    assert len(blocks["F"].row) == 2


def test_chunks_and_fused_passes_are_told_apart() -> None:
    schedule = make_schedule("dualpipe_v", ranks=2, chunks=2, micro_batches=6)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    blocks = timeline_blocks(program, run_fixed(program), schedule, rows=[0, 1])
    assert set(blocks["F"].chunk.tolist()) == {0, 1}
    assert all("|" in text for text in blocks["F&B"].text)
    assert set(KEYS) == {Kind.F, Kind.B, Kind.I, Kind.W, Kind.OVERLAP_F_B}


def test_every_kind_has_its_own_look() -> None:
    assert len({(look.color, look.hatch) for look in LOOKS.values()}) == len(LOOKS)


def test_looks_differ_in_grey_or_hatch() -> None:
    def grey(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return (0.299 * red + 0.587 * green + 0.114 * blue) / 255

    # F and B stand beside each other everywhere and have no hatch: their greys must be far apart.
    assert abs(grey(LOOKS["F"].color) - grey(LOOKS["B"].color)) > 0.25
    for key in ("I", "W", "F&B", "update", "exposed", "host"):
        assert LOOKS[key].hatch


@pytest.mark.parametrize(("name", "ranks", "micro_batches"), [("1f1b", 2, 4), ("zb_h1", 40, 130)])
def test_a_picture_of_any_size(name: str, ranks: int, micro_batches: int, tmp_path: Path) -> None:
    schedule = make_schedule(name, ranks=ranks, chunks=1, micro_batches=micro_batches)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0), hop_s=0.1)
    path = tmp_path / "out.png"
    labels = [str(rank) for rank in range(ranks)]
    draw_timeline(path, program, run_fixed(program), schedule, range(ranks), labels, name)
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    assert width == 2080
    assert 200 < height < 2200
    assert [item.name for item in tmp_path.iterdir()] == ["out.png"]


def test_a_window_shows_a_part(tmp_path: Path) -> None:
    program, execution, schedule = two_stages()
    whole, part = tmp_path / "whole.svg", tmp_path / "part.svg"
    draw_timeline(whole, program, execution, schedule, [0, 1], ["0", "1"], "all")
    draw_timeline(part, program, execution, schedule, [0, 1], ["0", "1"], "part", window=(4.6, 6.0))
    # Between 4.6 and 6 s two backward passes and a forward pass run; the update comes later.
    assert "optimizer update" in whole.read_text()
    assert "optimizer update" not in part.read_text()


def test_a_picture_too_small_to_read_says_how_to_see_more(tmp_path: Path) -> None:
    schedule = make_schedule("1f1b", ranks=2, chunks=1, micro_batches=1000)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0))
    path = tmp_path / "out.svg"
    draw_timeline(path, program, run_fixed(program), schedule, [0, 1], ["0", "1"], "long")
    # Half of the passes take 1 s, half 2 s: 60 of 1.5 s.
    assert "window 0-90 shows a part" in path.read_text()


@pytest.mark.parametrize("name", ["out.bmp", "missing/out.png"])
def test_a_target_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    program, execution, schedule = two_stages()
    with pytest.raises(PlannerError, match=r"ending|cannot be written"):
        draw_timeline(tmp_path / name, program, execution, schedule, [0, 1], ["0", "1"], "two stages")
    assert list(tmp_path.iterdir()) == []
