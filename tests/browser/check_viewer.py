"""The viewer's page in a real browser. Run by ``make browser``, which needs Chromium; not part of ``make test``."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from planner.report.viewer import write_viewer
from planner.simulator.analysis.links_use import link_series
from planner.simulator.analysis.memory import RankFacts, StageFacts, memory_timelines
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.trace import trace_lines
from planner.simulator.trace_events import TraceNames
from tests.simulator.analysis.programs import two_stages

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browse(page: Path, *options: str, anchor: str = "") -> str:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert browser is not None, f"none of {', '.join(BROWSERS)} is installed"
    command = [
        browser,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1400,900",
        "--virtual-time-budget=5000",
        *options,
        f"{page.as_uri()}{anchor}",
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def facts(dom: str) -> dict[str, str]:
    body = re.search(r"<body([^>]*)>", dom)
    assert body is not None
    return dict(re.findall(r'data-(\w+)="([^"]*)"', body[1]))


@pytest.fixture
def page(tmp_path: Path) -> Path:
    program, execution, schedule = two_stages()
    memory = memory_timelines(
        program, execution, schedule, [StageFacts(2.0**30)] * 2, [RankFacts()] * 2, [0, 1], [0, 1]
    )
    names = TraceNames(("rank 0", "rank 1"), ("nvlink",))
    load = link_series(program, execution, [0, 2])
    write_viewer(tmp_path / "page.html", trace_lines(program, execution, names, memory, load), "two stages")
    return tmp_path / "page.html"


def test_the_page_draws_every_slice_and_arrow(page: Path) -> None:
    seen = facts(browse(page, "--dump-dom"))
    # 16 tasks; 4 hops; 2 processes with 3 tracks and 2 counters each.
    assert (seen["ready"], seen["slices"], seen["drawn"], seen["flows"]) == ("yes", "16", "16", "4")
    assert seen["rows"] == str(2 * (1 + 3 + 2))


def test_an_address_opens_a_part_of_the_step(page: Path) -> None:
    seen = facts(browse(page, "--dump-dom", anchor="#0.2-0.8"))
    # Between 0.2 and 0.8 s only the first forward pass runs.
    assert (seen["drawn"], seen["arrows"]) == ("1", "0")


def test_a_large_page_opens(tmp_path: Path) -> None:
    schedule = make_schedule("1f1b", ranks=32, chunks=1, micro_batches=256)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0), hop_s=0.1)
    execution = run_fixed(program)
    names = TraceNames([f"rank {rank}" for rank in range(32)], ())
    path = tmp_path / "large.html"
    write_viewer(path, trace_lines(program, execution, names), "large")
    seen = facts(browse(path, "--dump-dom"))
    # 32 x 256 passes each way, and as many hops between 31 neighbours.
    assert int(seen["slices"]) == 2 * 256 * (32 + 31)
    assert int(seen["drawn"]) > 1000


def test_a_screenshot_is_not_blank(page: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    browse(page, f"--screenshot={picture}", "--hide-scrollbars")
    # A blank page of this size compresses to a few kilobytes.
    assert picture.stat().st_size > 20_000
