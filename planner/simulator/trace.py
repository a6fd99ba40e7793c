"""A simulated step as a Chrome trace (JSON), which Perfetto and chrome://tracing open. Docs: docs/simulator.md.

One process per actor, one thread per stream, complete events in microseconds, flow arrows for pipeline hops, counters for
memory and link load. Format: "Trace Event Format" (Google, catapult project). Times are written with whole nanoseconds.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from planner.errors import PlannerError
from planner.simulator.analysis.links_use import LinkSeries
from planner.simulator.analysis.memory import MemoryTimeline
from planner.simulator.program import NONE, Execution, Program
from planner.simulator.trace_events import (
    Block,
    TraceNames,
    arrow_blocks,
    load_block,
    memory_block,
    slice_block,
)
from planner.simulator.trace_tracks import TRACK_ORDER, Slices, arrows, slices

MOST_EVENTS = 2_000_000
"""Viewers load a trace into a browser's memory; larger ones do not open."""


def trace_lines(
    program: Program,
    execution: Execution,
    names: TraceNames,
    memory: Sequence[MemoryTimeline] = (),
    load: Sequence[LinkSeries] = (),
    limit: int = MOST_EVENTS,
    field: str = "--trace",
) -> Iterator[str]:
    """The events of a trace, each as one line of JSON: first the names, then everything else by time.

    Args:
        memory, load: become counters.
        limit: events that are allowed; field: named in the error when there are more.

    Raises:
        PlannerError: more than ``limit`` events.
    """
    drawn = slices(program, execution)
    tracks = _thread_ids(drawn)
    ways = arrows(program, execution, drawn)
    blocks = [
        slice_block(program, drawn, tracks, names.slices),
        *arrow_blocks(drawn, ways, tracks),
        *(memory_block(line) for line in memory),
        *(load_block(program, names, series) for series in load),
    ]
    total = sum(len(block.time_ns) for block in blocks)
    if total > limit:
        raise PlannerError(
            f"{total:,} events, at most {limit:,} open in a viewer: simulate fewer micro-batches"
            " (a smaller training.global_batch), or merge replicas that act alike (--merge auto)",
            field=field,
        )
    return _all_lines(names, drawn, tracks, blocks)


def write_trace(path: str | Path, lines: Iterator[str], title: str = "simulated step") -> None:
    """Write a trace, whole or not at all; compressed when the name ends in .gz.

    Args:
        lines: see ``trace_lines``.

    Raises:
        PlannerError: the file cannot be written.
    """
    with _replacing(Path(path)) as stream:
        head = json.dumps({"displayTimeUnit": "ms", "otherData": {"title": title}})
        stream.write(head[:-1] + ', "traceEvents": [\n')
        separator = ""
        for line in lines:
            stream.write(separator + line)
            separator = ",\n"
        stream.write("\n]}\n")


@contextmanager
def _replacing(file: Path) -> Iterator[IO[str]]:
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(handle, "wb") as raw:
            if file.suffix == ".gz":
                # Without a date, so that the same simulation writes the same bytes.
                with (
                    gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
                    _text(packed) as stream,
                ):
                    yield stream
            else:
                with _text(raw) as stream:
                    yield stream
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except OSError as error:
        raise PlannerError(f"cannot be written: {error.strerror}", file=file) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


@contextmanager
def _text(raw: IO[bytes] | gzip.GzipFile) -> Iterator[IO[str]]:
    stream = io.TextIOWrapper(raw, encoding="utf-8", newline="\n")
    yield stream
    stream.flush()
    stream.detach()


def _thread_ids(drawn: Slices) -> list[tuple[int, int]]:
    """(process, thread) of every track: threads count from 1 within an actor, in the order of ``TRACK_ORDER``."""

    def rank(index: int) -> tuple[int, int, str, int]:
        track = drawn.tracks[index]
        known = TRACK_ORDER.index(track.name) if track.name in TRACK_ORDER else len(TRACK_ORDER)
        return track.actor, known, track.name, track.lane

    ids: list[tuple[int, int]] = [(0, 0)] * len(drawn.tracks)
    actor, thread = NONE, 0
    for index in sorted(range(len(drawn.tracks)), key=rank):
        thread = thread + 1 if drawn.tracks[index].actor == actor else 1
        actor = drawn.tracks[index].actor
        ids[index] = (actor, thread)
    return ids


def _all_lines(
    names: TraceNames, drawn: Slices, tracks: Sequence[tuple[int, int]], blocks: Sequence[Block]
) -> Iterator[str]:
    for actor, title in enumerate(names.actors):
        yield _named("process_name", actor, 0, {"name": title})
        yield _named("process_sort_index", actor, 0, {"sort_index": actor})
    for (process, thread), track in zip(tracks, drawn.tracks, strict=True):
        yield _named("thread_name", process, thread, {"name": track.title})
        yield _named("thread_sort_index", process, thread, {"sort_index": thread})
    time = np.concatenate([block.time_ns for block in blocks])
    block_of = np.repeat(np.arange(len(blocks)), [len(block.time_ns) for block in blocks])
    place = np.concatenate([np.arange(len(block.time_ns)) for block in blocks])
    order = np.argsort(time, kind="stable")
    for block, index in zip(block_of[order].tolist(), place[order].tolist(), strict=True):
        yield blocks[block].line(index)


def _named(kind: str, process: int, thread: int, arguments: dict[str, object]) -> str:
    return json.dumps({"ph": "M", "name": kind, "pid": process, "tid": thread, "args": arguments})
