"""One row of a sweep's table: the settings, the plan in numbers, or why there is none."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from planner.errors import NoAnswerError, PlannerError
from planner.jobs.shelf import Shelf
from planner.solvers.pareto import cost_of_tokens
from planner.studies.sweep.points import Settings
from planner.studies.sweep.task import Answer, Task, answer

Row = Mapping[str, Any]
Answers = Generator[tuple[int, Row], None, None]
"""The number of a point and its row, as an engine gives them."""

Status = Literal["ok", "no_answer", "bad_input", "error"]
Kind = Literal["text", "integer", "number", "truth"]

KNOB_COLUMNS: Mapping[str, Kind] = {
    "tp": "integer",
    "sp": "truth",
    "cp": "integer",
    "ulysses": "integer",
    "cp_kind": "text",
    "pp": "integer",
    "vpp": "integer",
    "schedule": "text",
    "ep": "integer",
    "etp": "integer",
    "dp": "integer",
    "zero_stage": "integer",
    "shard": "text",
    "micro_batch": "integer",
    "grad_accum": "integer",
    "recompute": "text",
    "recompute_layers": "integer",
    "offload": "text",
}

COLUMNS: Mapping[str, Kind] = {
    "status": "text",
    "message": "text",
    "model": "text",
    "cluster": "text",
    "devices": "integer",
    "step_time_s": "number",
    "interval_low_s": "number",
    "interval_high_s": "number",
    "tokens_per_s": "number",
    "tokens_per_s_per_device": "number",
    "mfu": "number",
    "hfu": "number",
    "device_used_bytes": "number",
    "capacity_bytes": "number",
    "fits": "truth",
    "cost_per_million_tokens": "number",
    **KNOB_COLUMNS,
    "candidates": "integer",
    "proved": "truth",
    "gap": "number",
    "seconds": "number",
    "inputs": "text",
    "key": "text",
}
"""Columns after those of the swept fields, in order; ``seconds`` is the only one that differs between equal runs."""


def column_kinds(axes: Mapping[str, Sequence[Any]]) -> dict[str, Kind]:
    """Names and kinds of all columns: swept fields first.

    Args:
        axes: values by path, as many as are known.
    """
    return {**{path: _kind(values) for path, values in axes.items()}, **_fixed(axes)}


def _fixed(axes: Mapping[str, Any]) -> dict[str, Kind]:
    """A swept field that is also a result (devices, model) stands in its own column only."""
    return {name: kind for name, kind in COLUMNS.items() if name not in axes}


def _kind(values: Sequence[Any]) -> Kind:
    if all(isinstance(value, bool) for value in values):
        return "truth"
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return "integer"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    return "text"


def make_row(task: Task, settings: Settings, shelf: Shelf) -> Row:
    """The row of one point; whatever goes wrong is its status and message."""
    begin = time.monotonic()
    try:
        found = answer(task, settings, shelf)
        figures = {"status": "ok", **_figures(found)}
    except NoAnswerError as error:
        figures = failed("no_answer", str(error))
    except PlannerError as error:
        figures = failed("bad_input", str(error))
    except Exception as error:
        figures = failed("error", _where(error))
    return {**figures, **shown(settings), "seconds": time.monotonic() - begin}


def failed(status: Status, message: str) -> dict[str, Any]:
    """The figures of a point without a plan."""
    return {"status": status, "message": " ".join(message.split())}


def shown(settings: Settings) -> dict[str, Any]:
    """Settings as cells: lists and mappings as JSON."""
    return {path: cell(value) for path, value in settings.items()}


def cell(value: Any) -> Any:
    """A plain value, or the JSON of a list or mapping."""
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def _figures(found: Answer) -> dict[str, Any]:
    job, plan = found.job, found.plan
    knobs = plan.layout
    devices = math.prod(int(knobs.get(axis, 1)) for axis in ("tp", "cp", "pp", "dp"))
    return {
        "model": job.model.name,
        "cluster": job.cluster.name,
        "devices": devices,
        "step_time_s": plan.step_time_s,
        "interval_low_s": plan.interval_s[0],
        "interval_high_s": plan.interval_s[1],
        "tokens_per_s": plan.tokens_per_s,
        "tokens_per_s_per_device": plan.tokens_per_s_per_device,
        "mfu": plan.mfu,
        "hfu": plan.hfu,
        "device_used_bytes": plan.memory.device_used_bytes,
        "capacity_bytes": plan.memory.capacity_bytes,
        "fits": plan.memory.fits,
        "cost_per_million_tokens": cost_of_tokens(job, devices, plan.step_time_s),
        **{name: cell(knobs.get(name)) for name in KNOB_COLUMNS},
        "candidates": found.candidates,
        "proved": found.proved,
        "gap": found.gap,
    }


def _where(error: Exception) -> str:
    """Kind, words and place of an error that nobody foresaw, for a report."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
