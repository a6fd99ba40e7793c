"""Collect values and their evidence from the figures of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.hardware.schema import Figure
from planner.hardware.types import Evidence

UNSOURCED = "stated by the file, no source given"


def known(figures: Mapping[str, Figure]) -> dict[str, float]:
    """The values of the figures that have one."""
    return {name: figure.value for name, figure in figures.items() if figure.value is not None}


def value(figure: Figure | None) -> float | None:
    """The value of a figure that may be left out or unknown."""
    return None if figure is None else figure.value


def evidence(
    figures: Iterable[tuple[str, Figure | None]], sources: Mapping[str, str], default: str = UNSOURCED
) -> dict[str, Evidence]:
    """Evidence by figure name; keys of the ``sources`` table are written out."""
    return {
        name: Evidence(sources.get(figure.source or "", figure.source or default), figure.grade, figure.note)
        for name, figure in figures
        if figure is not None and figure.value is not None
    }
