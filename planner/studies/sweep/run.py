"""Runs a sweep: skips rows that are there, computes the others, keeps them as they come."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from planner.errors import PlannerError
from planner.jobs.shelf import Shelf
from planner.studies.sweep.keys import Keyed, changed_inputs, keyed_points
from planner.studies.sweep.points import Settings
from planner.studies.sweep.processes import run_processes
from planner.studies.sweep.ray_engine import run_ray
from planner.studies.sweep.request import Sweep
from planner.studies.sweep.rows import Answers, Row, column_kinds
from planner.studies.sweep.store import Store
from planner.studies.sweep.table import FIRST_RESULT, read_table, swept_fields
from planner.studies.sweep.task import Task

if TYPE_CHECKING:
    import pyarrow as pa

EngineName = Literal["process", "ray"]
Progress = Callable[[float, str], None]

KEEP_EVERY_S = 1.0
MOST_ROWS = 5000
"""Rows are written after so long, or when there are so many: what a kill costs."""


@dataclass(frozen=True)
class Engine:
    """Where points are computed.

    Args:
        workers: processes or actors; None: one per CPU.
        address: of a running Ray cluster.
    """

    name: EngineName = "process"
    workers: int | None = None
    address: str | None = None

    def run(self, task: Task, points: Sequence[Settings]) -> Answers:
        """The number and the row of each point, as they are ready."""
        if self.name == "ray":
            return run_ray(task, points, self.workers, self.address)
        return run_processes(task, points, self.workers or os.cpu_count() or 1)


@dataclass(frozen=True)
class Outcome:
    """A finished sweep.

    Args:
        table: one row for each point, in the order of the points.
        computed, kept: rows of this run and of earlier ones.
        seconds: of this run.
    """

    table: pa.Table
    computed: int
    kept: int
    seconds: float

    @property
    def statuses(self) -> dict[str, int]:
        """How many rows have each status."""
        return dict(Counter(self.table.column("status").to_pylist()).most_common())

    def to_json(self) -> dict[str, Any]:
        """Plain data without the rows."""
        return {
            "points": self.table.num_rows,
            "computed": self.computed,
            "kept": self.kept,
            "status": self.statuses,
            "seconds": self.seconds,
        }


def run_sweep(
    sweep: Sweep,
    path: Path,
    engine: Engine,
    *,
    shelf: Shelf,
    fresh: bool = False,
    retry: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """The table of a sweep, in its file.

    Args:
        path: Parquet or CSV; rows of an earlier run that was killed are kept.
        fresh: begin anew.
        retry: compute rows with status ``error`` again.
        progress: called with (done fraction, message).

    Raises:
        PlannerError: the file holds another sweep, or is being written; nothing has been computed then.
    """
    begin = time.monotonic()
    points = keyed_points(sweep.task, sweep.points, shelf)
    store = Store(path, _kinds(sweep))
    store.open(fresh=fresh)
    try:
        done = _done(store, points, retry)
        left = [point for point in points if point.key not in done]
        if left:
            _compute(sweep.task, left, store, engine, _Report(progress, len(points), len(done)))
        table = store.finish({point.key: place for place, point in enumerate(points)})
    finally:
        store.close()
    return Outcome(table, len(left), len(done), time.monotonic() - begin)


def _kinds(sweep: Sweep) -> Mapping[str, Any]:
    return column_kinds({axis.path: [point[axis.path] for point in sweep.points] for axis in sweep.axes})


def _compute(
    task: Task, points: Sequence[Keyed], store: Store, engine: Engine, report: Callable[[int], None]
) -> None:
    """Compute rows and store them; what is ready is kept whatever ends the work."""
    ready: list[Row] = []
    stored, last = 0, time.monotonic()
    try:
        with closing(engine.run(task, [point.settings for point in points])) as answers:
            for number, row in answers:
                ready.append({**row, "inputs": points[number].inputs, "key": points[number].key})
                if len(ready) >= MOST_ROWS or time.monotonic() - last >= KEEP_EVERY_S:
                    store.append(ready)
                    stored, last = stored + len(ready), time.monotonic()
                    ready = []
                report(stored + len(ready))
    finally:
        store.append(ready)


class _Report:
    """Progress with rate and time left, both from the first row of this run on: workers need seconds to start."""

    def __init__(self, progress: Progress | None, total: int, kept: int) -> None:
        self._progress, self._total, self._kept = progress, total, kept
        self._first: float | None = None

    def __call__(self, computed: int) -> None:
        if self._progress is None:
            return
        done = self._kept + computed
        words = f"{done:,} of {self._total:,} points"
        if self._first is None:
            self._first = time.monotonic()
        elif computed > 1:
            rate = (computed - 1) / max(time.monotonic() - self._first, 1e-9)
            words += f", {rate:.3g}/s, {_duration((self._total - done) / rate)} left"
        self._progress(done / self._total, words)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _done(store: Store, points: Sequence[Keyed], retry: bool) -> set[str]:
    """Keys of rows that need not be computed.

    Raises:
        PlannerError: the table holds rows of another sweep.
    """
    _require_same_fields(store)
    table = store.rows().select(["key", "status", "inputs"])
    last = {row["key"]: row for row in table.to_pylist()}
    wanted = {point.key for point in points}
    others = [row["inputs"] for key, row in last.items() if key not in wanted]
    if others:
        changed = changed_inputs(others, {point.inputs for point in points})
        why = f"from other inputs (changed: {', '.join(changed)})" if changed else "at other points"
        raise PlannerError(
            f"holds {len(others):,} rows that were computed {why}; --fresh begins anew, or choose another file",
            file=store.path,
        )
    return {key for key, row in last.items() if not (retry and row["status"] == "error")}


def _require_same_fields(store: Store) -> None:
    names = list(store.kinds)
    wanted = names[: names.index(FIRST_RESULT)]
    for file in store.files():
        found = swept_fields(read_table(file))
        if set(found) != set(wanted):
            raise PlannerError(
                f"is a sweep over {', '.join(found)}; --fresh begins anew, or choose another file",
                file=store.path,
            )
