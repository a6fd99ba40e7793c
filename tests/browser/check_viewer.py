"""The viewer's page in a real browser. Run by ``make browser``, which needs Chromium; not part of ``make test``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.report.viewer import write_viewer
from planner.simulator.analysis.links_use import link_series
from planner.simulator.analysis.memory import RankFacts, StageFacts, memory_timelines
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.trace import trace_lines
from planner.simulator.trace_events import TraceNames
from tests.browser.chrome import Chrome
from tests.simulator.analysis.programs import two_stages

READY = "document.body?.dataset.ready === 'yes' && document.body.dataset.drawn !== undefined"
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with Chrome(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(tmp_path: Path) -> str:
    program, execution, schedule = two_stages()
    memory = memory_timelines(
        program, execution, schedule, [StageFacts(2.0**30)] * 2, [RankFacts()] * 2, [0, 1], [0, 1]
    )
    names = TraceNames(("rank 0", "rank 1"), ("nvlink",))
    load = link_series(program, execution, [0, 2])
    write_viewer(tmp_path / "page.html", trace_lines(program, execution, names, memory, load), "two stages")
    return (tmp_path / "page.html").as_uri()


def facts(chrome: Chrome) -> dict[str, Any]:
    assert chrome.run(FRAME)
    seen: dict[str, Any] = chrome.run("({...document.body.dataset})")
    return seen


def test_the_page_draws_every_slice_and_arrow(chrome: Chrome, page: str) -> None:
    chrome.open(page, READY)
    seen = facts(chrome)
    # 16 tasks; 4 hops; 2 processes with 3 tracks and 2 counters each.
    assert (seen["slices"], seen["drawn"], seen["flows"], seen["arrows"]) == ("16", "16", "4", "4")
    assert seen["rows"] == str(2 * (1 + 3 + 2))
    legend = chrome.run("document.getElementById('legend').textContent")
    assert "F: forward" in legend
    assert "dp" in legend


def test_an_address_opens_a_part_of_the_step(chrome: Chrome, page: str) -> None:
    chrome.open(page + "?part#0.2-0.8", READY)
    seen = facts(chrome)
    # Between 0.2 and 0.8 s only the first forward pass runs.
    assert (seen["drawn"], seen["arrows"]) == ("1", "0")
    chrome.press("0")
    assert facts(chrome)["drawn"] == "16"


def test_keys_zoom_and_move(chrome: Chrome, page: str) -> None:
    chrome.open(page + "?keys", READY)
    for _ in range(12):
        chrome.press("w")
    near = facts(chrome)
    assert int(near["drawn"]) < 16
    for _ in range(20):
        chrome.press("s")
    assert facts(chrome)["drawn"] == "16"


def test_hovering_tells_and_a_click_folds(chrome: Chrome, page: str) -> None:
    chrome.open(page + "?mouse", READY)
    box = chrome.run(
        "(({left, top}) => [left, top])(document.getElementById('view').getBoundingClientRect())"
    )
    # The first track lies below the axis (26) and the first head (21); its first slice begins at the left edge.
    x, y = box[0] + 195, box[1] + 26 + 21 + 9
    chrome.mouse("mouseMoved", x, y)
    tip = chrome.run("document.getElementById('tip').textContent")
    assert tip.splitlines()[:2] == ["F 0", "rank 0"]
    assert "for 1 s" in tip
    assert "micro-batch: 0" in tip
    for kind in ("mousePressed", "mouseReleased"):
        chrome.mouse(kind, box[0] + 30, box[1] + 26 + 8, button="left", clickCount=1)
    # Rank 0's six tasks on compute, one on tp, two hops are folded away.
    assert facts(chrome)["drawn"] == str(16 - 8)


def test_a_large_page_opens(chrome: Chrome, tmp_path: Path) -> None:
    schedule = make_schedule("1f1b", ranks=32, chunks=1, micro_batches=256)
    program = pipeline_program(schedule, PassSeconds(1.0, 2.0, 1.0, 1.0), hop_s=0.1)
    execution = run_fixed(program)
    names = TraceNames([f"rank {rank}" for rank in range(32)], ())
    path = tmp_path / "large.html"
    write_viewer(path, trace_lines(program, execution, names), "large")
    chrome.open(path.as_uri(), READY)
    seen = facts(chrome)
    # 32 x 256 passes each way, and as many hops between 31 neighbours.
    assert int(seen["slices"]) == 2 * 256 * (32 + 31)
    assert int(seen["drawn"]) > 1000


def test_a_screenshot_is_not_blank(chrome: Chrome, page: str) -> None:
    chrome.open(page + "?picture", READY)
    # A blank page of this size compresses to a few kilobytes.
    assert len(chrome.screenshot()) > 20_000
