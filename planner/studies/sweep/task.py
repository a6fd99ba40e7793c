"""What a sweep does at each point: the job there, and its search or its estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.costs.predict import predict
from planner.jobs.figures import figure_of, figures
from planner.jobs.loader import job_parts, override, resolve
from planner.jobs.place import JobDocument
from planner.jobs.prediction import Prediction
from planner.jobs.shelf import Shelf
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.solvers.search import search
from planner.studies.sweep.fields import HARDWARE, LAYOUT
from planner.studies.sweep.points import Settings
from planner.studies.sweep.values import FACTOR


@dataclass(frozen=True)
class Task:
    """The same for all points of a sweep.

    Args:
        base: the job; each point changes some of its fields.
        knobs: layout to estimate; None: the best layout is searched.
        gap, time_limit_s: where each search may stop, as ``search`` takes them.
    """

    base: JobDocument
    knobs: Mapping[str, Any] | None = None
    gap: float = 0.0
    time_limit_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """The plan of one point, and what its search proved (None for an estimate)."""

    job: Job
    plan: Prediction
    candidates: int | None = None
    proved: bool | None = None
    gap: float | None = None


def answer(task: Task, settings: Settings, shelf: Shelf) -> Answer:
    """The plan at one point.

    Raises:
        NoAnswerError: nothing fits.
        PlannerError: the settings contradict each other or the rest of the job.
    """
    job = job_at(task.base, settings, shelf)
    if task.knobs is None:
        result = search(job, top=1, pareto=False, gap=task.gap, time_limit_s=task.time_limit_s)
        proof = result.certificate
        return Answer(
            job,
            result.plans[0],
            int(result.space["candidates"]),
            bool(proof["proved"]),
            float(proof["gap"]),
        )
    layout = parse_layout({**task.knobs, **_below(settings, LAYOUT)}, job, base=task.base.base)
    return Answer(job, predict(job, layout))


def job_at(base: JobDocument, settings: Settings, shelf: Shelf) -> Job:
    """The job with the settings of one point; errors as ``load_job``."""
    place = place_at(base, settings, shelf)
    job = resolve(place, shelf=shelf)
    for setting, value in _below(settings, HARDWARE).items():
        name = setting.removesuffix(FACTOR)
        if name not in figures(job) and name in figures(_on_all_devices(job, place, shelf)):
            continue  # a network level that so few devices do not use
        figure = figure_of(job, name)
        job = figure.scale(job, float(value) if setting.endswith(FACTOR) else float(value) / figure.value)
    return job


def _on_all_devices(job: Job, place: JobDocument, shelf: Shelf) -> Job:
    return replace(job, cluster=job_parts(place, shelf).cluster)


def place_at(base: JobDocument, settings: Settings, shelf: Shelf) -> JobDocument:
    """The job file with the settings of one point in it; hardware figures and layout knobs are not part of it."""
    fields = {path: value for path, value in settings.items() if not path.startswith((HARDWARE, LAYOUT))}
    # A model or cluster as a whole comes before fields of it.
    return override(base, dict(sorted(fields.items(), key=lambda item: item[0].count("."))), shelf=shelf)


def _below(settings: Settings, section: str) -> dict[str, Any]:
    """The settings of one section by the rest of their paths."""
    return {path.removeprefix(section): value for path, value in settings.items() if path.startswith(section)}
