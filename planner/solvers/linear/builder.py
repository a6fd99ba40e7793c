"""Builds a programme from arrays of variables and families of constraints."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from planner.solvers.linear.programme import Block, Family, Floats, Ints, Programme

Term = tuple[ArrayLike, ArrayLike]
"""Columns, leading axis = row, the other axes summed; and coefficients that broadcast to them."""


@dataclass(frozen=True)
class _Rows:
    """Rows of one call of ``add``: its row number, column and value of each entry, and both sides of each row."""

    family: str
    rows: Ints
    columns: Ints
    values: Floats
    lower: Floats
    upper: Floats


@dataclass
class Builder:
    """Collects variables and constraints; ``programme`` gives the frozen result.

    ``n = builder.variables("n", (stages, types), upper=96, integer=True)`` gives the column numbers in that shape, and
    ``builder.add("count", (n.T, 1.0), equal=counts)`` says for each type that its layers over all stages add up.
    """

    _blocks: list[Block] = field(default_factory=list)
    _bounds: list[tuple[Floats, Floats, Floats]] = field(default_factory=list)
    _whole: list[bool] = field(default_factory=list)
    _rows: list[_Rows] = field(default_factory=list)
    _words: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    _size: int = 0

    def variables(
        self,
        name: str,
        shape: int | tuple[int, ...] = (),
        *,
        lower: ArrayLike = 0.0,
        upper: ArrayLike = np.inf,
        cost: ArrayLike = 0.0,
        integer: bool = False,
    ) -> Ints:
        """New variables; their column numbers in ``shape``. Bounds and cost broadcast to it.

        Raises:
            ValueError: the name is taken or no identifier, or a lower bound is above its upper one.
        """
        block = Block(name, self._size, (shape,) if isinstance(shape, int) else tuple(shape))
        if not name.isidentifier() or any(other.name == name for other in self._blocks):
            raise ValueError(f"variables need a new identifier as name, not '{name}'")
        columns = block.columns
        low, high, price = (
            np.broadcast_to(np.asarray(value, np.float64), columns.shape).ravel()
            for value in (lower, upper, cost)
        )
        if (low > high).any():
            raise ValueError(f"variables {name}: a lower bound lies above its upper one")
        self._blocks.append(block)
        self._bounds.append((low, high, price))
        self._whole.append(integer)
        self._size += columns.size
        return columns

    def add(
        self,
        family: str,
        *terms: Term,
        lower: ArrayLike = -np.inf,
        upper: ArrayLike = np.inf,
        equal: ArrayLike | None = None,
        meaning: str = "",
        unit: str = "",
        definition: bool = False,
    ) -> None:
        """Rows ``lower <= sum of the terms <= upper``, or ``= equal``, in a family (which several calls may fill).

        Args:
            terms: columns of shape (rows, ...) or () for the same one in every row, and coefficients that broadcast.
            meaning, unit: for people who read which family is to blame; the first call's words count.
            definition: the family only says what the variables mean, so that no one can relax it.

        Raises:
            ValueError: the family is no identifier.
        """
        if not family.isidentifier():
            raise ValueError(f"a family of constraints needs an identifier as name, not '{family}'")
        low, high = (lower, upper) if equal is None else (equal, equal)
        leading = [np.shape(columns)[0] for columns, _ in terms if np.ndim(columns)]
        count = max([1, *leading, *(np.size(side) for side in (low, high))])
        entries = [_entries(columns, values, count) for columns, values in terms]
        rows, places, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        sides = [np.broadcast_to(np.asarray(side, np.float64), (count,)) for side in (low, high)]
        self._words.setdefault(family, (meaning, unit, definition))
        self._rows.append(_Rows(family, rows, places, values, sides[0], sides[1]))

    def programme(self) -> Programme:
        """What was collected; terms on the same variable in a row are summed.

        Raises:
            ValueError: a coefficient or cost is not finite, or a side of a row is not a number.
        """
        from scipy.sparse import coo_matrix

        calls = [call for family in self._words for call in self._rows if call.family == family]
        starts = np.cumsum([0, *(len(call.lower) for call in calls)])
        families = []
        for name, words in self._words.items():
            of = [place for place, call in enumerate(calls) if call.family == name]
            families.append(Family(name, int(starts[of[0]]), int(starts[of[-1] + 1]), *words))
        rows = _joined([call.rows + start for call, start in zip(calls, starts[:-1], strict=True)], np.int64)
        columns = _joined([call.columns for call in calls], np.int64)
        values = _joined([call.values for call in calls], np.float64)
        matrix = coo_matrix((values, (rows, columns)), shape=(int(starts[-1]), self._size)).tocsr()
        matrix.eliminate_zeros()
        lower, upper, cost = (
            _joined([bound[part] for bound in self._bounds], np.float64) for part in range(3)
        )
        sides = [_joined([getattr(call, side) for call in calls], np.float64) for side in ("lower", "upper")]
        if not np.isfinite(values).all() or not np.isfinite(cost).all() or np.isnan(sides).any():
            raise ValueError("coefficients and costs must be finite, and sides of rows numbers")
        sizes = [len(bound[0]) for bound in self._bounds]
        whole = _joined(
            [np.full(size, flag) for size, flag in zip(sizes, self._whole, strict=True)], np.bool_
        )
        return Programme(
            tuple(self._blocks),
            tuple(families),
            cost,
            lower,
            upper,
            whole,
            sides[0],
            sides[1],
            matrix,
        )


def _entries(columns: ArrayLike, values: ArrayLike, count: int) -> tuple[Ints, Ints, Floats]:
    """(row, column, value) of each entry of a term."""
    places = np.asarray(columns, np.int64)
    if places.ndim == 0 or (places.shape[0] == 1 and count > 1):
        places = np.broadcast_to(places.reshape(1, *places.shape[1:]), (count, *places.shape[1:]))
    given = np.asarray(values, np.float64)
    spread = np.broadcast_to(given, places.shape)
    rows = np.broadcast_to(np.arange(count).reshape(count, *[1] * (places.ndim - 1)), places.shape)
    return rows.ravel(), places.ravel(), spread.ravel()


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
