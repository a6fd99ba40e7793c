"""A linear programme as arrays: minimise cost x, bounds on x and on the rows of a sparse matrix, some x whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEASIBILITY = 1e-5
"""Largest violation of a row relative to the size of its terms; solvers promise 1e-6 of their scaled rows."""


@dataclass(frozen=True)
class Block:
    """Variables of one name: columns ``start`` .. in C order of ``shape``."""

    name: str
    start: int
    shape: tuple[int, ...]

    @property
    def columns(self) -> Ints:
        """Column numbers in the block's shape."""
        return np.arange(self.start, self.start + int(np.prod(self.shape))).reshape(self.shape)


@dataclass(frozen=True)
class Family:
    """Constraints of one kind: rows ``start`` .. ``stop`` - 1.

    Args:
        meaning: what the family demands, for people ("memory of each rank").
        unit: of the rows' sides ("GB"); empty for plain numbers.
        definition: says what the variables mean; nothing that could be relaxed.
    """

    name: str
    start: int
    stop: int
    meaning: str = ""
    unit: str = ""
    definition: bool = False


@dataclass(frozen=True, eq=False)
class Programme:
    """Minimise ``cost @ x`` with ``lower <= x <= upper`` and ``row_lower <= matrix @ x <= row_upper``.

    Args:
        blocks: the variables by name, in column order.
        families: the rows by kind, in row order; they cover all rows.
        cost, lower, upper: per column; infinite bounds stand for none.
        integer: per column, whether only whole values count.
        row_lower, row_upper: per row.
        matrix: rows x columns.
    """

    blocks: tuple[Block, ...]
    families: tuple[Family, ...]
    cost: Floats
    lower: Floats
    upper: Floats
    integer: NDArray[np.bool_]
    row_lower: Floats
    row_upper: Floats
    matrix: csr_matrix

    @property
    def columns(self) -> int:
        return len(self.cost)

    @property
    def rows(self) -> int:
        return len(self.row_lower)

    def family_of(self, row: int) -> Family:
        """The family that a row belongs to."""
        return next(family for family in self.families if family.start <= row < family.stop)

    def objective(self, values: Floats) -> float:
        """``cost @ values``."""
        return float(self.cost @ values)

    def accepts(self, values: Floats) -> bool:
        """Whether values keep every bound, row and integrality within the tolerance of solvers."""
        if values.shape != self.cost.shape or not np.isfinite(values).all():
            return False
        whole = np.where(self.integer, np.abs(values - np.rint(values)), 0.0)
        sizes = np.maximum(1.0, abs(self.matrix) @ np.abs(values))
        activity = self.matrix @ values
        column_miss = np.maximum(self.lower - values, values - self.upper) / np.maximum(1.0, np.abs(values))
        row_miss = np.maximum(self.row_lower - activity, activity - self.row_upper) / sizes
        worst = max(float(miss.max(initial=0.0)) for miss in (whole, column_miss, row_miss))
        return worst <= FEASIBILITY

    def relaxed(self) -> Programme:
        """The same programme without integrality."""
        return replace(self, integer=np.zeros(self.columns, np.bool_))
