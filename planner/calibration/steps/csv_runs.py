"""Runs as a CSV table: knobs of the layout, keys of the job, what was measured."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.calibration.steps.runs import MEMORY_KINDS, OwnRun, seconds_of
from planner.calibration.steps.series import Steady
from planner.documents.reading import read_text
from planner.errors import PlannerError, suggest
from planner.jobs.knobs import KNOBS
from planner.jobs.types import Job
from planner.layouts.knob_text import parse_scalar
from planner.layouts.layout import Layout
from planner.layouts.legality import require_legal

LARGEST_BYTES = 64 * 2**20

TIMES = (
    "step_time_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "samples_per_s",
    "model_tflops_per_device",
    "mfu",
)
"""Columns of what was measured, one of them per row; ``mfu`` is a part of 1."""

JOB_KEYS: Mapping[str, str] = {"devices": "devices", "global_batch": "training.global_batch"} | {
    name: f"training.{name}"
    for name in (
        "seq_len",
        "precision",
        "framework",
        "optimizer",
        "attention",
        "compile",
        "capture",
        "dropout",
    )
}
"""Columns that set a key of the job."""

OTHERS = ("name", "spread", "flops_convention", *(f"{kind}_gib" for kind in MEMORY_KINDS))

Build = Callable[[Mapping[str, Any], Mapping[str, Any], Path, int], tuple[Job, Layout]]
"""Job and layout from keys of the job and knobs, and the file and line that they stand on."""


def is_table(file: Path) -> bool:
    """Whether a file is a table by its name."""
    return file.suffix.lower() == ".csv"


def runs_of_table(file: Path, build: Build) -> list[OwnRun]:
    """The runs of a table.

    Raises:
        PlannerError: unreadable file, an unknown column, a wrong cell, no or several measured times in a row, no row; an
            illegal layout.
    """
    reader = csv.reader(io.StringIO(read_text(file, "CSV text", limit_bytes=LARGEST_BYTES)), strict=True)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, file)
        runs = []
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) != len(header):
                    raise PlannerError(
                        f"found {len(cells)} cells; {len(header)} are accepted",
                        file=file,
                        line=reader.line_num,
                    )
                row = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
                runs.append(_run(row, file, reader.line_num, build))
    except csv.Error as error:
        raise PlannerError(f"not valid CSV: {error}", file=file, line=max(reader.line_num, 1)) from None
    if not runs:
        raise PlannerError("holds no run", file=file)
    return runs


def _check_header(header: list[str], file: Path) -> None:
    known = (*KNOBS, *JOB_KEYS, *TIMES, *OTHERS)
    if not any(header):
        raise PlannerError("is empty", file=file)
    for name in header:
        if name.partition(".")[0] not in (*known, "training"):
            raise PlannerError(
                f"unknown column '{name[:60]}': {suggest(name[:60], known)}",
                file=file,
                line=1,
                field="header",
            )
    if not set(header) & set(TIMES):
        raise PlannerError(f"one of these columns is required: {', '.join(TIMES)}", file=file, line=1)
    if len(set(header)) < len(header):
        raise PlannerError("a column stands twice", file=file, line=1, field="header")


def _run(row: Mapping[str, str], file: Path, line: int, build: Build) -> OwnRun:
    knobs = {name: parse_scalar(text) for name, text in row.items() if name in KNOBS}
    keys = {JOB_KEYS.get(name, name): parse_scalar(text) for name, text in row.items() if _is_key(name)}
    job, layout = build(keys, knobs, file, line)
    require_legal(job, layout)
    found = [name for name in TIMES if name in row]
    if len(found) != 1:
        raise PlannerError(f"found {len(found)} measured times; one is accepted", file=file, line=line)
    devices = layout.tp * layout.cp * layout.pp * layout.dp
    value = _positive(row, found[0], file, line)
    seconds = seconds_of(found[0], value, job, devices, row.get("flops_convention"))
    spread = _positive(row, "spread", file, line) if "spread" in row else 0.0
    memory = {
        kind: _positive(row, f"{kind}_gib", file, line) * 2**30
        for kind in MEMORY_KINDS
        if f"{kind}_gib" in row
    }
    return OwnRun(
        row.get("name", f"{file.stem}:{line}"), file, line, job, layout, Steady(seconds, spread, 1), memory
    )


def _is_key(name: str) -> bool:
    return name in JOB_KEYS or name.startswith("training.")


def _positive(row: Mapping[str, str], name: str, file: Path, line: int) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise PlannerError(
            f"found '{row[name][:40]}'; a number above 0 is accepted", file=file, line=line, field=name
        )
    return value
