"""A published statement, what we compute for it, and whether that is within the statement's own tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

DATA = Path(__file__).parents[1] / "data"
FOLDER, RECORDED = DATA / "statements", DATA / "statements_recorded.yaml"
"""What is published, by section and written by hand; and what was computed for it when last recorded."""

Figures = Mapping[str, float]
Compute = Callable[[], Figures]

DRIFT = 0.05
"""Relative change of a recorded figure that is taken for progress or regress of the model."""


@dataclass(frozen=True)
class Statement:
    """One statement of a source.

    Args:
        name, section, source, where: its name, the data file that holds it, the publication, and the place in it.
        says: in words.
        accept: one of ``relative``, ``absolute`` (distance from each published figure), ``at_least``, ``at_most``,
            ``between`` (bounds of each of our figures).
        published: by cell; None where the source gives a direction only.
        ours: by cell, as recorded.
        reason: what our model lacks; needed where figures are outside.
    """

    name: str
    section: str
    source: str
    where: str
    says: str
    accept: Mapping[str, Any]
    published: Mapping[str, float | None]
    ours: Figures
    reason: str | None

    def bounds(self, cell: str) -> tuple[float, float]:
        """What our figure may be in a cell."""
        ((kind, value),) = self.accept.items()
        if kind == "between":
            return float(value[0]), float(value[1])
        if kind == "at_least":
            return float(value), math.inf
        if kind == "at_most":
            return -math.inf, float(value)
        figure = self.published[cell]
        if figure is None:
            raise ValueError(f"{self.name}: cell {cell} has no published figure to be near to")
        width = value if kind == "absolute" else abs(figure) * value
        return figure - width, figure + width

    def outside(self, figures: Figures) -> list[str]:
        """Cells whose figures are not accepted."""
        return [
            cell
            for cell, figure in figures.items()
            if not self.bounds(cell)[0] - 1e-9 <= figure <= self.bounds(cell)[1] + 1e-9
        ]

    def beyond(self, cell: str) -> float:
        """How far our recorded figure is outside, over the bound that it misses; 0 inside."""
        low, high = self.bounds(cell)
        figure = self.ours[cell]
        bound = min(max(figure, low), high)
        return abs(figure - bound) / (abs(bound) or 1.0)

    @property
    def missed(self) -> list[str]:
        """Cells whose recorded figures are not accepted."""
        return self.outside(self.ours)

    def drifted(self, figures: Figures) -> list[str]:
        """Cells whose figures differ from the recorded ones."""
        return [
            cell
            for cell, figure in figures.items()
            if not math.isclose(figure, self.ours[cell], rel_tol=DRIFT, abs_tol=1e-6)
        ]


def statements() -> dict[tuple[str, str], Statement]:
    """Every statement by its data file and name."""
    found, ours = {}, YAML(typ="safe").load(RECORDED)
    for path in sorted(FOLDER.glob("*.yaml")):
        document = YAML(typ="safe").load(path)
        for name, fields in document["statements"].items():
            found[path.stem, name] = Statement(
                name=name,
                section=path.stem,
                source=fields.get("source", document["source"]),
                where=fields["where"],
                says=fields["says"],
                accept=fields["accept"],
                published=fields["published"],
                ours=ours.get(path.stem, {}).get(name, {}),
                reason=fields.get("reason"),
            )
    return found
