"""Where the catalogue of ``hardware_specs`` is, and the names in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from planner.errors import PlannerError, suggest

ACCELERATORS, NETWORKS, CLUSTERS = "accelerators", "networks", "clusters"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def specs_root() -> Path:
    """The folder ``hardware_specs``: inside an installed package, beside it in a source checkout.

    Raises:
        PlannerError: neither exists, so the installation is damaged.
    """
    package = Path(str(resources.files("planner")))
    for folder in (package / "_data" / "hardware_specs", package.parent / "hardware_specs"):
        if folder.is_dir():
            return folder
    raise PlannerError(
        "the catalogue hardware_specs is missing from this installation; install the package again"
    )


def names(kind: str) -> Sequence[str]:
    """Sorted names of one part of the catalogue (``accelerators``, ``networks`` or ``clusters``)."""
    return sorted(path.stem for path in (specs_root() / kind).glob("*.yaml"))


def list_accelerators() -> Sequence[str]:
    """Names of all accelerators."""
    return names(ACCELERATORS)


def list_networks() -> Sequence[str]:
    """Names of all network kinds."""
    return names(NETWORKS)


def list_clusters() -> Sequence[str]:
    """Names of all ready clusters."""
    return names(CLUSTERS)


def find(kind: str, name: str) -> Path:
    """The file of a catalogue entry.

    Raises:
        PlannerError: no such name; the nearest one is suggested.
    """
    if _NAME.fullmatch(name):
        path = specs_root() / kind / f"{name}.yaml"
        if path.is_file():
            return path
    what = {ACCELERATORS: "accelerator", NETWORKS: "network kind", CLUSTERS: "cluster"}[kind]
    raise PlannerError(f"unknown {what} {shown(name)}; {suggest(name[:100], names(kind))}")


def shown(name: str) -> str:
    """A name for a message: quoted, on one line, cut when it is very long."""
    return repr(name if len(name) <= 100 else name[:97] + "...")
