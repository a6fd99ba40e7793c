"""The page is whole, holds the very events, and needs nothing from outside."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

from planner.report.viewer import viewer_page, write_viewer
from planner.simulator.trace import trace_lines
from planner.simulator.trace_events import TraceNames
from tests.simulator.analysis.programs import two_stages

NAMES = TraceNames(("rank 0", "rank </script><b>1"), ("nvlink",))


def lines() -> list[str]:
    program, execution, _ = two_stages()
    return list(trace_lines(program, execution, NAMES))


def page() -> str:
    return viewer_page(iter(lines()), "two stages <&>", "step 11.5 s")


class Reader(HTMLParser):
    """Collects scripts, and whatever refers to something outside."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.outside: list[str] = []
        self.open = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += tag == "script"
        if tag == "script":
            self.scripts.append("")
        self.outside += [str(value) for name, value in attrs if name in ("src", "href") and value]

    def handle_endtag(self, tag: str) -> None:
        self.open -= tag == "script"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.scripts[-1] += data


def test_the_page_holds_the_events_of_the_trace() -> None:
    reader = Reader()
    reader.feed(page())
    assert len(reader.scripts) == 2
    assert json.loads(reader.scripts[0]) == [json.loads(line) for line in lines()]


def test_names_cannot_break_out_of_the_page() -> None:
    text = page()
    assert "<title>two stages &lt;&amp;&gt;</title>" in text
    assert "</script><b>" not in text


def test_nothing_comes_from_outside() -> None:
    reader = Reader()
    reader.feed(page())
    assert reader.outside == []
    assert not re.search(r"https?://|\bfetch\(|\bimport\b", page())
    assert "<!--" not in page().replace("<!doctype", "")


def test_the_page_is_written_whole(tmp_path: Path) -> None:
    write_viewer(tmp_path / "out.html", iter(lines()), "two stages <&>", "step 11.5 s")
    assert (tmp_path / "out.html").read_text() == page()
    assert [item.name for item in tmp_path.iterdir()] == ["out.html"]
