"""A validator of Chrome traces, written from the "Trace Event Format" document and from what Perfetto's importer accepts.

Perfetto drops slices of one thread that overlap without lying inside each other, flow events outside any slice, and
counters that are no numbers; all of these are faults here.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

NEEDED = {
    "M": {"name", "pid", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "C": {"name", "pid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "t": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "bp", "pid", "tid", "ts"},
}


def read_trace(path: Path) -> list[dict[str, Any]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    document = json.loads(raw, parse_constant=_no_constant)
    assert isinstance(document["traceEvents"], list)
    assert document["displayTimeUnit"] in ("ms", "ns")
    events: list[dict[str, Any]] = document["traceEvents"]
    return events


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1000)


def check_trace(events: list[dict[str, Any]]) -> None:
    """Raises AssertionError at the first fault."""
    for event in events:
        missing = NEEDED[event["ph"]] - event.keys()
        assert not missing, f"{event} lacks {missing}"
    timed = [event for event in events if event["ph"] != "M"]
    assert all(event["ph"] == "M" for event in events[: len(events) - len(timed)]), "names come first"
    times = [event["ts"] for event in timed]
    assert times == sorted(times)
    assert min(times, default=0) >= 0
    _check_names(events)
    threads = _check_slices(timed)
    _check_flows(timed, threads)
    for event in timed:
        if event["ph"] == "C":
            assert event["args"]
            assert all(isinstance(value, int | float) for value in event["args"].values())


def _check_names(events: list[dict[str, Any]]) -> None:
    processes = {e["pid"] for e in events if e["name"] == "process_name"}
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    for event in events:
        assert event["pid"] in processes
        if event["ph"] in "Xstf":
            assert (event["pid"], event["tid"]) in threads


def _check_slices(timed: list[dict[str, Any]]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in timed:
        if event["ph"] == "X":
            begin = nanoseconds(event["ts"])
            threads[event["pid"], event["tid"]].append((begin, begin + nanoseconds(event["dur"])))
    for spans in threads.values():
        spans.sort()
        for (begin, end), (after, _) in itertools.pairwise(spans):
            assert begin < end
            assert end <= after, "slices of one thread overlap"
    return threads


def _check_flows(timed: list[dict[str, Any]], threads: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
    flows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in timed:
        if event["ph"] in "stf":
            flows[event["id"]].append(event)
            moment = nanoseconds(event["ts"])
            spans = threads[event["pid"], event["tid"]]
            assert any(begin <= moment < end for begin, end in spans), "a flow event outside any slice"
    for steps in flows.values():
        order = [step["ph"] for step in sorted(steps, key=lambda step: nanoseconds(step["ts"]))]
        assert order == ["s", "t", "f"]
