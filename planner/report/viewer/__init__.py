"""A trace as one page that opens in any browser, without a server and without anything from outside."""

from __future__ import annotations

import html
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from planner.documents.writing import write_text

MOST_EVENTS = 500_000
"""For ``trace_lines``: a page of more takes a browser many seconds to open."""


def viewer_page(lines: Iterator[str], title: str, facts: str = "") -> str:
    """The page.

    Args:
        lines: events as ``simulator.trace.trace_lines`` gives them.
        title: heading of the page; facts: a line below it.
    """
    # A script element ends at "</script" wherever it stands; JSON may write "<" otherwise.
    data = "[" + ",\n".join(lines).replace("<", "\\u003c") + "]"
    page = _part("page.html")
    for name, text in (
        ("TITLE", html.escape(title)),
        ("FACTS", html.escape(facts)),
        ("STYLE", _part("viewer.css")),
        ("SCRIPT", _part("viewer.js")),
        ("EVENTS", data),
    ):
        page = page.replace(f"<!--{name}-->", text)
    return page


def write_viewer(path: str | Path, lines: Iterator[str], title: str, facts: str = "") -> None:
    """Write the page, whole or not at all.

    Raises:
        PlannerError: the file cannot be written.
    """
    write_text(Path(path), viewer_page(lines, title, facts))


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
