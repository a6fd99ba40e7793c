"""Files of measured kernels to points with predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from planner.costs.kernels import FloatArray
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import (
    calibrated_accelerator,
    default_calibration,
    kernels_alone,
    load_calibration,
)
from planner.hardware.types import Accelerator
from planner.validation.collectives import compare_nvlink_rows
from planner.validation.csv_rows import read_rows
from planner.validation.files import measurement_files
from planner.validation.kernels.formats import FORMATS
from planner.validation.kernels.timed import AcceleratorOf, Timings
from planner.validation.kernels.timings import timings_of
from planner.validation.points import Comparison, Point, joined

Progress = Callable[[float, str], None]
Others = Callable[[Timings], Mapping[str, FloatArray]]
"""Predictions of a table by other constants, by their name."""

PRIORS_ONLY = "priors only"


def compare_kernels(
    paths: Sequence[str | Path],
    progress: Progress = lambda done, what: None,
    others: Others = lambda timings: {},
) -> Comparison:
    """All measurements of the files against the kernel model of their accelerators, with the catalogue's constants.

    Args:
        paths: files, or folders whose CSV files are read.
        others: further predictions to score beside.

    Raises:
        PlannerError: a file that cannot be read, a wrong header or cell, an accelerator that the catalogue lacks.
    """
    files = measurement_files(paths, (".csv",), "tables of measured kernels (.csv)")
    calibrated, priors = catalogue_accelerators(), prior_accelerators()
    parts = []
    for index, file in enumerate(files):
        progress(index / len(files), f"kernels of {file.name}")
        rows = read_rows(file, FORMATS)
        if rows.kind == "collectives":
            parts.append(compare_nvlink_rows(rows))
            continue
        timings = timings_of(rows)
        beside = {PRIORS_ONLY: timings.price(priors), **others(timings)}
        parts.append(_compared(timings, timings.price(calibrated), beside))
    return joined(parts)


def catalogue_accelerators() -> AcceleratorOf:
    """Accelerators running kernels one by one, with the catalogue's calibration."""
    folder = default_calibration()
    calibration = None if folder is None else load_calibration(folder)

    def find(name: str) -> Accelerator:
        plain = load_accelerator(name)
        return kernels_alone(plain if calibration is None else calibrated_accelerator(plain, calibration))

    return _once(find)


def prior_accelerators() -> AcceleratorOf:
    """The same before anything was fitted."""
    return _once(lambda name: kernels_alone(load_accelerator(name)))


def _once(find: AcceleratorOf) -> AcceleratorOf:
    known: dict[str, Accelerator] = {}

    def remembered(name: str) -> Accelerator:
        if name not in known:
            known[name] = find(name)
        return known[name]

    return remembered


def _compared(timings: Timings, predicted: FloatArray, others: Mapping[str, FloatArray]) -> Comparison:
    rows = timings.rows
    return Comparison(
        tuple(
            Point(
                id=f"{rows.file.name}:{line}",
                labels={
                    "family": rows.file.stem,
                    "accelerator": timings.devices[row],
                    "operator": timings.labels[row][0],
                    "band": timings.labels[row][1],
                },
                subject=timings.subjects[row],
                measured_s=float(timings.measured_s[row]),
                half_width_s=float(timings.half_width_s[row]),
                predicted_s=float(predicted[row]),
                others={name: float(seconds[row]) for name, seconds in others.items()},
            )
            for row, line in enumerate(rows.lines)
        )
    )
