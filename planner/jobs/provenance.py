"""What a prediction was made from: version of the planner and hashes of model, cluster, profile and calibration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from planner import __version__
from planner.hardware.types import Cluster
from planner.jobs.framework import Framework
from planner.models.graph import ModelGraph

_NOT_HASHED = ("evidence", "notes", "source")
"""Fields that explain a value and change no prediction."""


class Inputs(Protocol):
    """A job, or the parts of one."""

    @property
    def model(self) -> ModelGraph: ...

    @property
    def cluster(self) -> Cluster: ...

    @property
    def framework(self) -> Framework: ...


def provenance(job: Inputs) -> dict[str, str]:
    """Version and hashes, without any time stamp: the same inputs give the same text."""
    found = {
        "planner": __version__,
        "model": fingerprint(job.model),
        "cluster": fingerprint(job.cluster),
        "framework": fingerprint(job.framework.model_dump(exclude={"notes"})),
    }
    if job.cluster.calibration is not None:
        found["calibration"] = _digest(
            b"".join(file.read_bytes() for file in _files(job.cluster.calibration))
        )
    return found


def _files(calibration: str) -> list[Path]:
    """The files behind a calibration: itself, or those of the catalogue's folder."""
    path = Path(calibration)
    return sorted(path.glob("*.yaml")) if path.is_dir() else [path]


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the inputs that differ between two provenances."""
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def fingerprint(value: Any) -> str:
    """A short hash of a tree of frozen dataclasses, pydantic models, mappings, sequences and scalars."""
    return _digest(json.dumps(_canonical(value), sort_keys=True).encode())


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _canonical(getattr(value, f.name)) for f in fields if f.name not in _NOT_HASHED}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_canonical(item) for item in value)
    if isinstance(value, (tuple, list)):
        return [_canonical(item) for item in value]
    return value
