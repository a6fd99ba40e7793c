"""Calibration files: fitted constants by what they belong to, and how the files of a catalogue join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from planner.documents import validate
from planner.documents.bulk import load_bulk
from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.spreads import Spreads

FITTED = "calibrated on"
"""How the source of a fitted figure begins."""

ScopeKind = Literal["accelerator", "architecture", "attention", "network", "framework"]
"""What a constant belongs to: a chip, an architecture's kernel library, a generation of attention kernels, a kind of
network, a framework profile."""

Published = Literal["runs", "kernels", "collectives"]
Own = Literal["steps", "log", "device", "network", "machine"]
Data = Literal[Published, Own]
"""What was measured: published data, of which the catalogue has one file each, or a user's own."""

_MEASURED: Mapping[Data, str] = {
    "runs": "published runs",
    "kernels": "measured kernels",
    "collectives": "measured collectives",
    "steps": "own training runs",
    "log": "timings of own collectives",
    "device": "kernels of the own device",
    "network": "collectives of the own network",
    "machine": "measurements of the own machine",
}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FittedConstant(_Strict):
    """One constant.

    Args:
        value: fitted; prior: where the fit started and is pulled to, with its spread (of the logarithm; of the log-odds
            for shares); lower, upper: physical bounds.
        rows: measurements that depend on it; groups: sources of them.
    """

    value: float = Field(gt=0)
    prior: float = Field(gt=0)
    spread: float = Field(gt=0)
    lower: float = Field(gt=0)
    upper: float = Field(gt=0)
    rows: int = Field(ge=1)
    groups: int = Field(ge=1)


class CalibratedScope(_Strict):
    """Constants that the members share: one chip, one kind of network, one framework profile, ..."""

    members: tuple[str, ...] = Field(min_length=1)
    families: tuple[str, ...] = Field(min_length=1, description="sources of the rows")
    constants: dict[str, FittedConstant] = Field(min_length=1)

    def source(self, data: Data) -> str:
        """Where its constants come from, in words."""
        rows = max(constant.rows for constant in self.constants.values())
        return f"{FITTED} {rows} {_MEASURED[data]} ({', '.join(self.families)})"


class Calibration(_Strict):
    """A calibration file, or several that were joined (``parts``)."""

    name: str
    date: str
    data: Data = "runs"
    data_sha256: str
    rows: int
    accelerators: dict[str, CalibratedScope] = Field(default_factory=dict)
    architectures: dict[str, CalibratedScope] = Field(default_factory=dict)
    attention: dict[str, CalibratedScope] = Field(default_factory=dict)
    networks: dict[str, CalibratedScope] = Field(default_factory=dict)
    frameworks: dict[str, CalibratedScope] = Field(default_factory=dict)
    spreads: Spreads | None = None
    provenance: dict[str, str] = Field(
        default_factory=dict, description="by what was measured: on which machine, with which software"
    )
    parts: tuple[Calibration, ...] = Field(default=(), exclude=True)

    def sections(self) -> dict[ScopeKind, dict[str, CalibratedScope]]:
        """Scopes of this file by what they are."""
        return {
            "accelerator": self.accelerators,
            "architecture": self.architectures,
            "attention": self.attention,
            "network": self.networks,
            "framework": self.frameworks,
        }

    def values(self, kind: ScopeKind, member: str) -> dict[str, float]:
        """Fitted constants of a member by name, empty when nothing was fitted for it."""
        return {name: value for _, scope in self._covering(kind, member) for name, value in _values(scope)}

    def sources(self, kind: ScopeKind, member: str) -> dict[str, str]:
        """Where each of them comes from, in words."""
        return {
            name: scope.source(data)
            for data, scope in self._covering(kind, member)
            for name in scope.constants
        }

    def _covering(self, kind: ScopeKind, member: str) -> Iterator[tuple[Data, CalibratedScope]]:
        for part in self.parts or (self,):
            yield from (
                (part.data, scope) for scope in part.sections()[kind].values() if member in scope.members
            )


def _values(scope: CalibratedScope) -> Iterator[tuple[str, float]]:
    return ((name, constant.value) for name, constant in scope.constants.items())


def load_calibration(path: Path) -> Calibration:
    """The calibration of a file, or of all files of a folder.

    Raises:
        PlannerError: a file is missing or no calibration; two files define the same constant.
    """
    if path.is_dir():
        return joined([load_calibration(file) for file in sorted(path.glob("*.yaml"))])
    return validate(load_bulk(path), Calibration)


def joined(parts: Sequence[Calibration]) -> Calibration:
    """Several calibrations as one.

    Raises:
        PlannerError: none, or two that define the same constant.
    """
    if not parts:
        raise PlannerError("holds no calibration")
    if len(parts) == 1:
        return parts[0]
    owners: dict[tuple[str, str, str], str] = {}
    for part in parts:
        for place in _places(part):
            if owners.setdefault(place, part.name) != part.name:
                kind, member, constant = place
                raise PlannerError(
                    f"{constant} of the {kind} {member} is defined by two calibrations: {owners[place]}, {part.name}"
                )
    return _together(parts)


def _together(parts: Sequence[Calibration]) -> Calibration:
    """Several calibrations as one; of a constant that several define the last one's value counts."""
    return Calibration(
        name=" + ".join(part.name for part in parts),
        date=max(part.date for part in parts),
        data_sha256=" ".join(part.data_sha256 for part in parts),
        rows=sum(part.rows for part in parts),
        spreads=next((part.spreads for part in parts if part.spreads is not None), None),
        parts=tuple(parts),
    )


def _places(part: Calibration) -> Iterator[tuple[str, str, str]]:
    for kind, scopes in part.sections().items():
        for scope in scopes.values():
            yield from ((kind, member, name) for member in scope.members for name in scope.constants)


def default_calibration() -> Path | None:
    """The folder of the catalogue's calibrations, None when it holds none."""
    folder = catalogue.specs_root() / "calibrations"
    return folder if any(folder.glob("*.yaml")) else None


def applied_calibration(path: Path) -> Calibration:
    """What a prediction uses that names this file: its constants and those of the catalogue.

    A file fitted to published data replaces the catalogue's of the same kind; one fitted to a user's own measurements lies
    over the catalogue: what it states counts, all else stays.

    Raises:
        PlannerError: as ``load_calibration``.
    """
    chosen = load_calibration(path)
    if path.is_dir():
        return chosen
    others = catalogue_parts(besides=chosen.data)
    return overlaid(chosen, others) if chosen.data in get_args(Own) else joined([chosen, *others])


def overlaid(chosen: Calibration, others: Sequence[Calibration]) -> Calibration:
    """A calibration over others: a constant that several state is that of the chosen one.

    Raises:
        PlannerError: two of the others define the same constant.
    """
    if not others:
        return chosen
    below = joined(others)
    return _together([*(below.parts or (below,)), *(chosen.parts or (chosen,))])


def catalogue_parts(besides: Data) -> list[Calibration]:
    """The catalogue's calibrations from other data than these."""
    folder = default_calibration()
    if folder is None:
        return []
    loaded = (load_calibration(file) for file in sorted(folder.glob("*.yaml")))
    return [part for part in loaded if part.data != besides]
