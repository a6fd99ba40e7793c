"""Files of published collectives to points with predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from planner.documents import load_document
from planner.documents.reading import read_text
from planner.validation.collectives.csv_table import NVLINK
from planner.validation.collectives.nvlink import assumptions_of, nvlink_sweeps
from planner.validation.collectives.published import is_published, published_points
from planner.validation.collectives.published_sweeps import published_sweeps
from planner.validation.collectives.sweeps import Sweep, predicted_points, sorted_points
from planner.validation.csv_rows import header_of, read_rows
from planner.validation.files import measurement_files
from planner.validation.points import Comparison, Point, joined

Progress = Callable[[float, str], None]
OfFile = tuple[list[Sweep], list[tuple[int, Point]]]
"""Sweeps of one file, and points that the model cannot price."""


def compare_collectives(
    paths: Sequence[str | Path],
    progress: Progress = lambda done, what: None,
    *,
    calibrated: bool = True,
) -> Comparison:
    """All points of the files against the collective model.

    Args:
        paths: YAML files of published points, CSV tables, or folders of them.
        calibrated: with the fitted constants of the catalogue, else from the priors alone.

    Raises:
        PlannerError: a file that cannot be read or is of another format, a wrong cell, an unknown collective or node.
    """
    parts = []
    read = read_collectives(paths)
    for index, (sweeps, refused) in enumerate(read):
        progress(index / len(read), "pricing collectives")
        found = [*predicted_points(sweeps, calibrated=calibrated), *refused]
        parts.append(Comparison(sorted_points(found), assumptions_of(sweeps)))
    return joined(parts)


def read_collectives(paths: Sequence[str | Path]) -> list[OfFile]:
    """The sweeps of every file, and the points that are refused.

    Raises:
        PlannerError: a file that cannot be read or is of another format, a wrong cell, an unknown collective or node.
    """
    files = collective_files(paths)
    found: list[OfFile] = []
    for file in files:
        if file.suffix == ".csv":
            found.append((nvlink_sweeps(read_rows(file, {"collectives": NVLINK})), []))
        else:
            found.append(published_sweeps(published_points(load_document(file))))
    return found


def collective_files(paths: Sequence[str | Path]) -> list[Path]:
    """The files of collectives that are named or lie in the folders that are named.

    Raises:
        PlannerError: a path that does not exist, a folder without such a file.
    """
    what = "published collectives (.yaml) or tables of collectives (.csv)"
    return measurement_files(paths, (".yaml", ".yml", ".csv"), what, wanted=_is_collectives)


def _is_collectives(file: Path) -> bool:
    if file.suffix == ".csv":
        return set(NVLINK) <= set(header_of(file))
    return is_published(read_text(file))
