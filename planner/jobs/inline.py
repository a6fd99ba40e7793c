"""Models and clusters that a job refers to by name, as mappings whose single fields can be changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from planner.documents import load_document
from planner.hardware import catalogue
from planner.models.catalogue import list_models, load_spec

_OF_CLUSTER_FILE = ("links", "calibration")
"""Keys of a cluster file that name other files, from its own folder."""


def model_mapping(reference: str, base: Path | None) -> dict[str, Any]:
    """A model as a mapping, without what is only true of the published one.

    Args:
        reference: preset name, or path of a model file or a Hugging Face configuration.
        base: folder that relative paths start from.

    Raises:
        PlannerError: no such model.
    """
    if reference in list_models():
        return {"preset": reference}
    spec = load_spec(reference, base=base).model_dump(mode="json", exclude_defaults=True)
    return {
        name: value for name, value in spec.items() if name != "source" and not name.startswith("published")
    }


def cluster_mapping(reference: str, base: Path | None) -> dict[str, Any]:
    """A cluster as the mapping that its file holds; arguments and errors as ``model_mapping``."""
    if reference in catalogue.list_clusters():
        file = catalogue.find(catalogue.CLUSTERS, reference)
    else:
        file = (base or Path()) / reference
    stated = dict(load_document(file).data)
    stated.setdefault("name", file.stem)
    for key in _OF_CLUSTER_FILE:
        if isinstance(stated.get(key), str):
            stated[key] = str((file.parent / stated[key]).absolute())
    return stated


MAPPINGS: Mapping[str, Callable[[str, Path | None], dict[str, Any]]] = {
    "model": model_mapping,
    "cluster": cluster_mapping,
}
"""Sections of a job that may be names, and how they become mappings."""
