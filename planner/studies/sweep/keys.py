"""What a row was computed from: a key that changes with the job, the specs or the planner."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner import __version__
from planner.documents.reading import read_text
from planner.errors import PlannerError
from planner.jobs.loader import job_parts
from planner.jobs.place import JobDocument
from planner.jobs.provenance import fingerprint, provenance
from planner.jobs.shelf import Shelf
from planner.studies.sweep.points import Settings
from planner.studies.sweep.task import Task, place_at


@dataclass(frozen=True)
class Keyed:
    """One point with its place in the table.

    Args:
        settings: of the point.
        inputs: ``name=hash`` of the job, its model, cluster, framework and calibration, and the version of the planner.
        key: of settings and inputs.
    """

    settings: Settings
    inputs: str
    key: str


def keyed_points(task: Task, points: Sequence[Settings], shelf: Shelf) -> list[Keyed]:
    """The points with their keys.

    Specs are read once for each combination of names (model, cluster, framework, ...) among the settings.
    """
    job = _job_hash(task, {path for point in points for path in point})
    inputs: dict[str, str] = {}
    found = []
    for point in points:
        names = {path: value for path, value in point.items() if isinstance(value, str)}
        combination = json.dumps(names)
        if combination not in inputs:
            inputs[combination] = _text({"job": job, **_specs(task, names, shelf)})
        state = inputs[combination]
        found.append(Keyed(point, state, fingerprint([point, state]).removeprefix("sha256:")))
    return found


def changed_inputs(old: Iterable[str], new: Iterable[str]) -> tuple[str, ...]:
    """Names of inputs with a value among the old ones that none of the new ones has."""
    values: dict[str, set[str]] = {}
    for state in new:
        for name, value in _read(state):
            values.setdefault(name, set()).add(value)
    differ = {name for state in old for name, value in _read(state) if value not in values.get(name, ())}
    return tuple(sorted(differ))


def _text(hashes: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value.removeprefix('sha256:')}" for name, value in sorted(hashes.items()))


def _read(inputs: str) -> Iterator[tuple[str, str]]:
    for word in inputs.split():
        name, _, value = word.partition("=")
        yield name, value


def _job_hash(task: Task, swept: Iterable[str]) -> str:
    """Of the job file as written, without its name and the swept fields, and of what is done with it."""
    job = copy.deepcopy(task.base.document.at(task.base.at))
    for path in ("name", *swept):
        _remove(job, path.split("."))
    return fingerprint([job, task.knobs, task.gap, task.time_limit_s])


def _remove(section: Any, keys: Sequence[str]) -> None:
    for key in keys[:-1]:
        section = section.get(key) if isinstance(section, Mapping) else None
    if isinstance(section, dict):
        section.pop(keys[-1], None)


def _specs(task: Task, names: Settings, shelf: Shelf) -> Mapping[str, str]:
    """Hashes of the specs behind the job with these names; only the planner's version where they cannot be read."""
    place = place_at(task.base, names, shelf)
    try:
        return {**provenance(job_parts(place, shelf)), **_lengths(place)}
    except PlannerError:  # each row tells why
        return {"planner": __version__}


def _lengths(place: JobDocument) -> dict[str, str]:
    """Hash of the file of sequence lengths, where the job names one."""
    name = place.document.at((*place.at, "training")).get("lengths")
    if not isinstance(name, str):
        return {}
    return {"lengths": fingerprint(read_text((place.base or Path()) / name, "a list of lengths"))}
