"""Kernels predicted by constants that were fitted without them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from planner.calibration.fit.kernels import Block, Progress, read_blocks
from planner.calibration.fit.points import FloatArray
from planner.validation.csv_rows import CsvRows, read_rows
from planner.validation.files import measurement_files
from planner.validation.kernels.compare import compare_kernels
from planner.validation.kernels.formats import FORMATS
from planner.validation.kernels.timed import Timings
from planner.validation.points import Comparison

FOLDS = 5

LEFT_OUT = "left out"
"""Name of the predictions by constants that were fitted to the other folds."""


def compare_with_left_out(
    paths: Sequence[str | Path], progress: Progress = lambda done, message: None
) -> Comparison:
    """``compare_kernels``, and beside it every kernel as predicted by constants that were fitted, by the same code as the
    catalogue's, without all measurements of its weight's shape, its size or its length.

    Raises:
        PlannerError: as ``compare_kernels``.
    """
    files = measurement_files(paths, (".csv",), "tables of measured kernels (.csv)")
    blocks = read_blocks([file for file in files if read_rows(file, FORMATS).kind != "collectives"])
    seconds: dict[tuple[Path, int], float] = {}
    for done, block in enumerate(blocks):
        progress(0.9 * done / len(blocks), "leaving kernels out")
        seconds.update(_left_out(block))

    def others(timings: Timings) -> Mapping[str, FloatArray]:
        rows = timings.rows
        return {LEFT_OUT: np.array([seconds[rows.file, line] for line in rows.lines])}

    return compare_kernels(paths, lambda done, what: progress(0.9 + 0.1 * done, what), others)


def _left_out(block: Block) -> Iterator[tuple[tuple[Path, int], float]]:
    """Predicted seconds by file and line."""
    start = block.fit().positions
    folds = [fold_numbers(table.folds) for table in block.tables]
    for fold in range(FOLDS):
        kept = [_rows(table, of != fold) for table, of in zip(block.tables, folds, strict=True)]
        known = [rows for rows in kept if rows.lines]
        # with nothing else to learn from the priors are all there is
        values = block.fit(known, start).values if known else {c.key: c.prior for c in block.constants}
        predicted = block.predict(values)
        offset = 0
        for table, of in zip(block.tables, folds, strict=True):
            for row in np.flatnonzero(of == fold).tolist():
                yield (table.rows.file, table.rows.lines[row]), float(predicted[offset + row])
            offset += len(table.measured_s)


def fold_numbers(keys: Sequence[Hashable]) -> NDArray[np.int64]:
    """The fold of every row: equal keys together, keys dealt out by a fixed shuffle.

    Dealt in sorted order neighbours in size would always be left out alone, which flatters.
    """
    distinct = sorted(set(keys), key=repr)
    order = np.random.default_rng(0).permutation(len(distinct))
    number = {distinct[place]: position % FOLDS for position, place in enumerate(order)}
    return np.array([number[key] for key in keys])


def _rows(table: Timings, chosen: NDArray[np.bool_]) -> CsvRows:
    return table.rows.take(np.flatnonzero(chosen))
