"""Files of measured kernels to points with predictions, a batch per accelerator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels import matmul_seconds, memory_bound_seconds
from planner.errors import PlannerError
from planner.hardware.loader import load_accelerator
from planner.hardware.types import Accelerator
from planner.validation.collectives import compare_nvlink_rows
from planner.validation.csv_rows import CsvRows, read_rows
from planner.validation.files import measurement_files
from planner.validation.kernels.attention import attention_points
from planner.validation.kernels.formats import FORMATS, precision_of
from planner.validation.points import Comparison, Point, joined, printed_half_width

FloatArray = NDArray[np.float64]
Progress = Callable[[float, str], None]

LARGE_M = 512
"""Rows of a matmul from which whole tiles fill the device; training runs above it, decoding below."""


def compare_kernels(paths: Sequence[str | Path], progress: Progress = lambda done, what: None) -> Comparison:
    """All measurements of the files against the kernel model of their accelerators.

    Args:
        paths: files, or folders whose CSV files are read.

    Raises:
        PlannerError: a file that cannot be read, a wrong header or cell, an accelerator that the catalogue lacks.
    """
    files = measurement_files(paths, (".csv",), "tables of measured kernels (.csv)")
    parts = []
    for index, file in enumerate(files):
        progress(index / len(files), f"kernels of {file.name}")
        rows = read_rows(file, FORMATS)
        parts.append(_compare(rows))
    return joined(parts)


def _compare(rows: CsvRows) -> Comparison:
    if rows.kind == "collectives":
        return compare_nvlink_rows(rows)
    if rows.kind == "attention":
        return attention_points(rows)
    names = rows.columns["gpu"]
    points: dict[int, Point] = {}
    for name in dict.fromkeys(names):
        chosen = [row for row, gpu in enumerate(names) if gpu == name]
        points |= _device_points(rows, chosen, load_accelerator(name))
    return Comparison(tuple(points[row] for row in sorted(points)))


def _device_points(rows: CsvRows, chosen: Sequence[int], accelerator: Accelerator) -> dict[int, Point]:
    """The points of one accelerator by row."""
    times = np.array([rows.columns["time_us"][row] for row in chosen])
    half_width_s = printed_half_width(times) * 1e-6
    predict = _matmul if rows.kind == "matmul" else _memory_bound
    try:
        predicted, labels, subjects = predict(rows, chosen, accelerator)
    except PlannerError as error:
        raise rows.fault(chosen[0], "gpu", error.message) from None
    return {
        row: Point(
            id=f"{rows.file.name}:{rows.lines[row]}",
            labels={
                "family": rows.file.stem,
                "accelerator": accelerator.name,
                "operator": operator,
                "band": band,
            },
            subject=subject,
            measured_s=float(time) * 1e-6,
            half_width_s=half_width_s,
            predicted_s=float(seconds),
        )
        for row, time, seconds, (operator, band), subject in zip(
            chosen, times, predicted, labels, subjects, strict=True
        )
    }


Predicted = tuple[FloatArray, list[tuple[str, str]], list[str]]


def _matmul(rows: CsvRows, chosen: Sequence[int], accelerator: Accelerator) -> Predicted:
    m, n, k = (_column(rows, name, chosen) for name in ("m", "n", "k"))
    seconds = matmul_seconds(m, n, k, accelerator, precision_of(rows.file))
    bands = [f"m >= {LARGE_M}" if large else f"m < {LARGE_M}" for large in m >= LARGE_M]
    subjects = [f"m {a:.0f}, n {b:.0f}, k {c:.0f}" for a, b, c in zip(m, n, k, strict=True)]
    return seconds, [("matmul", band) for band in bands], subjects


def _memory_bound(rows: CsvRows, chosen: Sequence[int], accelerator: Accelerator) -> Predicted:
    nbytes = _column(rows, "bytes_moved", chosen)
    labels = [(str(rows.columns["op"][row]), "all sizes") for row in chosen]
    return memory_bound_seconds(nbytes, accelerator), labels, [f"{value:,.0f} bytes" for value in nbytes]


def _column(rows: CsvRows, name: str, chosen: Sequence[int]) -> FloatArray:
    return np.array([rows.columns[name][row] for row in chosen], dtype=np.float64)
