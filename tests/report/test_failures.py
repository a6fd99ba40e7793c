"""A failure study in words and as a picture."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from rich.console import Console

from planner.errors import PlannerError
from planner.report.failures import draw_failures, print_failures
from planner.simulator.failures.options import failure_options
from planner.simulator.failures.result import FailureStudy
from planner.simulator.failures.study import study
from tests.conftest import MakeJob

DENSE = {"layers": 4, "hidden": 1024, "heads": 16, "ffn_hidden": 4096, "vocab": 32000}


def made(make_job: MakeJob, **changes: str) -> FailureStudy:
    settings = {"mtbf": "50000 h", "checkpoint_seconds": "20 s", "runs": "20", **changes}
    return study(make_job(DENSE, devices=1024), 10.0, failure_options(**settings), mfu=0.4)


def printed(found: FailureStudy) -> str:
    stream = io.StringIO()
    print_failures(Console(file=stream, width=120), found)
    return stream.getvalue()


def test_the_words_name_goodput_intervals_and_assumptions(make_job: MakeJob) -> None:
    text = printed(made(make_job))
    # M = 50,000 h / 1,024 = 48.8 h; Young: sqrt(2 x 20 s x 48.8 h) = 44.2 min
    assert "one of 128 nodes fails every 2.0 d" in text
    assert "by Young 44.2 min" in text
    assert "← this plan" in text
    assert "effective MFU 39" in text
    assert "assumption: a spare node for every failure: assumed" in text
    assert "waiting for a repaired node" not in text


def test_waiting_is_shown_when_spares_run_out(make_job: MakeJob) -> None:
    assert "waiting for a repaired node" in printed(made(make_job, spares="0"))


@pytest.mark.parametrize("changes", [{}, {"checkpoint_interval": "2 h"}, {"days": "0.02"}, {"mtbf": "9e6 h"}])
def test_a_png(changes: dict[str, str], make_job: MakeJob, tmp_path: Path) -> None:
    draw_failures(tmp_path / "out.png", made(make_job, **changes), "dense on 1,024 devices")
    content = (tmp_path / "out.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > height > 400
    assert [item.name for item in tmp_path.iterdir()] == ["out.png"]


@pytest.mark.parametrize("name", ["out.jpeg2", "missing/out.png"])
def test_a_target_that_cannot_be_written(name: str, make_job: MakeJob, tmp_path: Path) -> None:
    found = made(make_job)
    with pytest.raises(PlannerError, match=r"ending|cannot be written"):
        draw_failures(tmp_path / name, found)
    assert list(tmp_path.iterdir()) == []
