"""Measured kernels of one table, and how to price them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.costs.kernels import FloatArray
from planner.hardware.types import Accelerator
from planner.validation.csv_rows import CsvRows

AcceleratorOf = Callable[[str], Accelerator]
"""The accelerator of a catalogue name, with the constants under test."""

COARSE = 4.0
"""Times below so many half widths of their last digit count less: a third of them is rounding."""

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class Timings:
    """Measurements as arrays of shape (rows,).

    Args:
        rows: the table that they stand in.
        devices: catalogue names.
        measured_s, half_width_s: times, and half of the last digit that they are printed in.
        labels: (operator, sizes) by which they are scored; subjects: what was measured, in words.
        folds: what must be left out together, because it tells nearly the same: a weight's shape, a size, a length.
        price: seconds of every row with the accelerators' constants as given.
        importance: of a row in a fit.
    """

    rows: CsvRows
    devices: tuple[str, ...]
    measured_s: FloatArray
    half_width_s: FloatArray
    labels: tuple[tuple[str, str], ...]
    subjects: tuple[str, ...]
    folds: tuple[Hashable, ...]
    price: Callable[[AcceleratorOf], FloatArray]
    importance: FloatArray | float = 1.0

    @property
    def kind(self) -> str:
        return self.rows.kind

    @property
    def weights(self) -> FloatArray:
        """By which rows count in a fit: their importance, less where the printed digits are coarse."""
        return np.asarray(
            self.importance * np.minimum(1.0, self.measured_s / np.maximum(COARSE * self.half_width_s, 1e-12))
        )


def rows_by(keys: Sequence[_Key]) -> dict[_Key, NDArray[Any]]:
    """Positions of each key, in the order in which keys appear."""
    found: dict[_Key, list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key, []).append(position)
    return {key: np.array(positions) for key, positions in found.items()}
