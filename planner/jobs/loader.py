"""From a job file, a plan file or a mapping to a resolved ``Job``."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.documents import Document, load_document, validate
from planner.errors import PlannerError
from planner.hardware.loader import is_grouped, load_cluster
from planner.hardware.slicing import use_devices
from planner.hardware.types import Cluster
from planner.jobs.files import JobFile
from planner.jobs.framework import Framework, calibrated_framework, load_framework, on_device
from planner.jobs.inline import MAPPINGS
from planner.jobs.place import DocumentPath, JobDocument
from planner.jobs.rules import faults
from planner.jobs.sections import search_of, training_of
from planner.jobs.shelf import Shelf
from planner.jobs.types import Job, Training
from planner.models.catalogue import load_model
from planner.models.graph import ModelGraph
from planner.models.spec import ModelSpec


@dataclass(frozen=True)
class Parts:
    """What a job is made of before it is put together: the whole cluster, whatever part of it the job uses."""

    spec: ModelSpec
    model: ModelGraph
    cluster: Cluster
    framework: Framework


def load_job(
    source: str | Path | Mapping[str, Any],
    *,
    base: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Job:
    """The job that a file or a mapping describes, with model, cluster and framework profile resolved.

    Args:
        source: path of a job file or of a plan file (its job is used), or the content of a job file.
        base: folder for relative paths of a mapping; a file's own folder otherwise.
        overrides: values by dotted key, for example ``{"training.seq_len": "32K"}``, that replace the file's.

    Raises:
        PlannerError: anything that the job may not say; names file, line and field.
    """
    return resolve(open_job(source, base=base, overrides=overrides))


def open_job(
    source: str | Path | Mapping[str, Any],
    *,
    base: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> JobDocument:
    """Read a job or plan without resolving it; arguments as ``load_job``."""
    if isinstance(source, Mapping):
        document, name = Document(None, copy.deepcopy(dict(source))), str(source.get("name", "job"))
    else:
        document, name = load_document(source), Path(source).stem
        base = Path(source).parent
    keys = document.data.keys() if isinstance(document.data, Mapping) else ()
    plan = "job" in keys and ("layout" in keys or "segments" in keys)
    at: DocumentPath = ("job",) if plan else ()
    place = JobDocument(document, at, base, name)
    return override(place, overrides) if overrides else place


def resolve(place: JobDocument, *, shelf: Shelf | None = None, group: Cluster | None = None) -> Job:
    """The job at that place; errors as ``load_job``.

    Args:
        shelf: keeps models, clusters and profiles for the next job; None: nothing is kept.
        group: plan on this group of the job's cluster (``job_groups``).
    """
    shelf = shelf or Shelf()
    file = validate(place.document, JobFile, place.at)
    parts = _parts(place, file, shelf, group)
    model, cluster, framework = parts.model, parts.cluster, parts.framework
    if file.devices is not None and group is None:
        cluster = _part(place, cluster, file.devices)
    training = training_of(place, file.training, model)
    search = search_of(file.search)
    for path, message in faults(model, cluster, framework, training, search):
        raise place.fault(path, message)
    source = _source(place, file, parts.spec, cluster, training, shelf)
    return Job(file.name or place.name, model, cluster, training, framework, search, source)


def job_parts(place: JobDocument, shelf: Shelf) -> Parts:
    """What the job at that place is made of, whether or not it fits together.

    Raises:
        PlannerError: a part is missing or faulty; names file, line and field.
    """
    return _parts(place, validate(place.document, JobFile, place.at), shelf, None)


def _parts(place: JobDocument, file: JobFile, shelf: Shelf, group: Cluster | None) -> Parts:
    spec, model = shelf.take("model", file.model, place.base, lambda: _model(place, file))
    owner = None if group is None else group.name
    cluster = group or shelf.take("cluster", file.cluster, place.base, lambda: _cluster(place, file))
    framework = shelf.take(
        "framework",
        (file.training.framework, file.cluster, owner),
        place.base,
        lambda: _framework(place, file, cluster),
    )
    return Parts(spec, model, cluster, framework)


def job_groups(place: JobDocument) -> Cluster | None:
    """The job's cluster when it has groups (all devices of them are used), else None; errors as ``load_job``."""
    file = validate(place.document, JobFile, place.at)
    at = (*place.at, "cluster")
    if not is_grouped(file.cluster, base=place.base, document=place.document, at=at):
        return None
    cluster = load_cluster(file.cluster, base=place.base, document=place.document, at=at, allow_groups=True)
    total = sum(group.devices for group in cluster.groups)
    if file.devices not in (None, total):
        message = f"found {file.devices:,}; the groups have {total:,} devices; state devices of each group"
        raise place.fault(("devices",), message)
    return cluster


def override(place: JobDocument, overrides: Mapping[str, Any], *, shelf: Shelf | None = None) -> JobDocument:
    """The same job with values by dotted key in place of the file's.

    A key inside a model or cluster that the job names (``cluster.price_per_device_hour``) puts its mapping in place of the name.

    Args:
        shelf: keeps mappings that are put in place of names.

    Raises:
        PlannerError: a key leads through a value that is no mapping.
    """
    shelf = shelf or Shelf()
    data = copy.deepcopy(place.document.data)
    for dotted_key, value in overrides.items():
        keys = (*place.at, *dotted_key.split("."))
        section = data
        for depth, key in enumerate(keys[:-1]):
            if not isinstance(section, dict):
                break
            if section.get(key) is None:
                section[key] = {}
            if depth == len(place.at) and isinstance(section[key], str) and key in MAPPINGS:
                section[key] = copy.deepcopy(_mapping(str(key), section[key], place.base, shelf))
            section = section[key]
        if not isinstance(section, dict):
            raise PlannerError(
                f"cannot be set: its section is no mapping in {place.document.path}", field=dotted_key
            )
        section[keys[-1]] = value
    return replace(place, document=Document(place.document.path, data, place.document.lines))


def _mapping(section: str, reference: str, base: Path | None, shelf: Shelf) -> dict[str, Any]:
    return shelf.take(f"{section} mapping", reference, base, lambda: MAPPINGS[section](reference, base))


def _model(place: JobDocument, file: JobFile) -> tuple[ModelSpec, ModelGraph]:
    return load_model(file.model, base=place.base, document=place.document, at=(*place.at, "model"))


def _cluster(place: JobDocument, file: JobFile) -> Cluster:
    return load_cluster(file.cluster, base=place.base, document=place.document, at=(*place.at, "cluster"))


def _framework(place: JobDocument, file: JobFile, cluster: Cluster) -> Framework:
    profile = load_framework(
        file.training.framework,
        file=str(place.document.path) if place.document.path else None,
        line=place.document.line((*place.at, "training", "framework")),
        field=".".join(map(str, (*place.at, "training", "framework"))),
    )
    return on_device(calibrated_framework(profile, cluster.calibration), cluster.accelerator)


def _part(place: JobDocument, cluster: Cluster, devices: int) -> Cluster:
    try:
        return use_devices(cluster, devices)
    except PlannerError as error:
        raise place.fault(("devices",), error.message) from None


def _source(
    place: JobDocument, file: JobFile, spec: ModelSpec, cluster: Cluster, training: Training, shelf: Shelf
) -> dict[str, Any]:
    """The job as plain data that stands alone: files it refers to are taken in."""
    source: dict[str, Any] = copy.deepcopy(dict(place.document.at(place.at)))
    source["name"] = file.name or place.name
    source["devices"] = cluster.devices
    model, network = file.model, file.cluster
    if isinstance(model, str) and model != spec.name:
        source["model"] = spec.model_dump(mode="json", exclude_defaults=True)
    if isinstance(network, str) and network != cluster.name:
        path = (place.base or Path()) / network
        stated = shelf.take("cluster file", network, place.base, lambda: load_document(path).data)
        source["cluster"] = {"name": cluster.name, **stated}
    section = dict(source["training"])
    if section.pop("lengths", None) is not None:
        section["seq_len"] = training.seq_len
    section.setdefault("seq_len", training.seq_len)
    return source | {"training": section}
