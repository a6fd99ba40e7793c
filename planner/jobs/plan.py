"""Plan files: a job, the layout chosen for it, what was predicted, and from which inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.documents import Document, load_document, write_yaml
from planner.errors import PlannerError, suggest
from planner.jobs.loader import open_job, resolve
from planner.jobs.place import JobDocument
from planner.jobs.prediction import Prediction
from planner.jobs.provenance import changed, provenance
from planner.jobs.types import Job

SECTIONS = ("job", "layout", "prediction", "provenance")


@dataclass(frozen=True)
class Plan:
    """A plan file as read back.

    Args:
        name: of the file, for tables.
        job: resolved again from the plan's own copy.
        knobs: the layout as plain knobs.
        prediction: the stored prediction's JSON.
        outdated: inputs (planner, model, cluster, framework, calibration) that have changed since it was written.
        document: for the line numbers of messages.
    """

    name: str
    job: Job
    knobs: Mapping[str, Any]
    prediction: Mapping[str, Any]
    outdated: tuple[str, ...]
    document: Document

    def line(self, *path: str) -> int | None:
        return self.document.line(path)


def plan_content(job: Job, prediction: Prediction) -> dict[str, Any]:
    """The plan file of one predicted layout as plain data, without any time stamp."""
    figures = prediction.to_json()
    layout = figures.pop("layout")
    return {
        "job": dict(job.source),
        "layout": layout,
        "prediction": figures,
        "provenance": provenance(job),
    }


def write_plan(path: str | Path, job: Job, prediction: Prediction) -> None:
    """Write a plan file, whole or not at all.

    Raises:
        PlannerError: the file cannot be written.
    """
    write_yaml(path, plan_content(job, prediction))


def read_plan(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan file.

    Raises:
        PlannerError: it is no plan, or its job is faulty; names file, line and field.
    """
    place = open_job(path, overrides=overrides)
    if not place.is_plan:
        raise PlannerError(
            "is no plan file (it has no job and layout); write one with 'plan search JOB -o plan.yaml'",
            file=path,
        )
    return plan_at(place)


def plan_at(place: JobDocument) -> Plan:
    """The plan that an opened plan file holds; errors as ``read_plan``."""
    data, file = place.document.data, place.document.path
    if "segments" in data:
        raise PlannerError("is a plan over several groups, which only plan search reads", file=file)
    for key in data:
        if key not in SECTIONS:
            message = f"unknown key; {suggest(str(key), SECTIONS)}"
            raise PlannerError(message, file=file, line=place.document.line((key,)), field=str(key))
    for key in ("layout", "prediction", "provenance"):
        if not isinstance(data.get(key, {}), Mapping):
            message = "a mapping is accepted"
            raise PlannerError(message, file=file, line=place.document.line((key,)), field=key)
    job = resolve(place)
    stored = data.get("provenance", {})
    outdated = changed(stored, provenance(job)) if stored else ()
    return Plan(place.name, job, data["layout"], data.get("prediction", {}), outdated, place.document)


def is_plan(path: str | Path) -> bool:
    """Whether the file is a plan rather than a job."""
    data = load_document(path).data
    return isinstance(data, Mapping) and "job" in data and "layout" in data
