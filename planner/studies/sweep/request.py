"""What a sweep is asked for: a job, fields to vary, a fixed layout or a search at each point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import load_document, validate
from planner.documents.fields import quantity
from planner.errors import PlannerError
from planner.jobs.files import Count
from planner.jobs.inline import MAPPINGS
from planner.jobs.loader import job_parts, open_job, override
from planner.jobs.place import JobDocument
from planner.jobs.shelf import Shelf
from planner.jobs.types import Job, Training
from planner.layouts.knob_text import parse_knob_text
from planner.studies.sweep.fields import LAYOUT, find_field, hardware_fields, job_fields, knob_fields
from planner.studies.sweep.fields import Field as SweptField
from planner.studies.sweep.points import Settings, sweep_points
from planner.studies.sweep.task import Task, place_at
from planner.studies.sweep.values import Axis, parse_axis


class SweepFile(BaseModel):
    """A sweep as users write it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str | dict[str, Any]
    over: dict[str, Any]
    samples: Count | None = None
    seed: int = Field(0, ge=0)
    layout: str | dict[str, Any] | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    gap: Annotated[float, quantity("1")] = 0.0
    time_limit: Annotated[float, quantity("s", allow_zero=False)] | None = None


@dataclass(frozen=True)
class Request:
    """A sweep before its fields and values are checked.

    Args:
        base: the job, with what ``set`` changes in it.
        over: values as written by field as written.
        samples, seed: a random sample instead of all combinations.
        layout: to estimate; None: search.
        gap, time_limit_s: where each search may stop.
    """

    base: JobDocument
    over: Mapping[str, Any] = field(default_factory=dict)
    samples: int | None = None
    seed: int = 0
    layout: str | Mapping[str, Any] | None = None
    gap: float = 0.0
    time_limit_s: float | None = None


@dataclass(frozen=True)
class Sweep:
    """A checked sweep: what is done at which points."""

    task: Task
    axes: tuple[Axis, ...]
    points: tuple[Settings, ...]


def open_request(path: str | Path) -> Request:
    """The request of a sweep file (it has ``over``), or of a job or plan file, which varies nothing yet.

    Raises:
        PlannerError: the file is missing or faulty; names file, line and field.
    """
    document = load_document(path)
    if not isinstance(document.data, Mapping) or "over" not in document.data:
        return Request(open_job(path))
    file = validate(document, SweepFile)
    folder = Path(path).parent
    base = open_job(folder / file.job if isinstance(file.job, str) else file.job, base=folder)
    if isinstance(file.job, Mapping):
        base = replace(base, document=document, at=("job",))
    if file.set:
        base = override(base, file.set)
    return Request(base, file.over, file.samples, file.seed, file.layout, file.gap, file.time_limit)


def checked_sweep(request: Request, shelf: Shelf) -> Sweep:
    """The sweep with every field found, every value read, every point listed.

    Raises:
        PlannerError: a faulty job, an unknown field (the nearest is named), a value that a field does not take.
    """
    if not request.over:
        raise PlannerError("nothing is varied; accepted: for example --over devices=64..4096", field="--over")
    knobs = parse_knob_text(request.layout) if isinstance(request.layout, str) else request.layout
    task = Task(request.base, knobs, request.gap, request.time_limit_s)
    fields = _fields(request, shelf)
    axes = tuple(parse_axis(find_field(path, fields), values) for path, values in request.over.items())
    return Sweep(task, axes, tuple(sweep_points(axes, request.samples, request.seed)))


def _fields(request: Request, shelf: Shelf) -> dict[str, SweptField]:
    """All fields of the job, of its layout when one is given, and of the hardware of every cluster that it may run on."""
    fields = job_fields(request.base.base)
    if request.layout is not None:
        fields |= {field.path: field for field in knob_fields(LAYOUT)}
    named = {
        path: parse_axis(fields[path], request.over[path]).values for path in MAPPINGS if path in request.over
    }
    first: dict[str, Any] = {path: values[0] for path, values in named.items()}
    hardware: dict[str, SweptField] = {}
    for cluster in named.get("cluster", (None,)):
        settings = first if cluster is None else {**first, "cluster": cluster}
        parts = job_parts(place_at(request.base, settings, shelf), shelf)
        probe = Job("probe", parts.model, parts.cluster, Training(global_batch=1, seq_len=1), parts.framework)
        hardware = {**hardware_fields(probe), **hardware}
    return fields | hardware
