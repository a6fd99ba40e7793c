"""Terms become the rows that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from planner.solvers.linear import Builder


def test_terms_are_rows_of_their_leading_axis() -> None:
    builder = Builder()
    n = builder.variables("n", (2, 3), upper=4, integer=True, cost=[[1, 2, 3], [4, 5, 6]])
    t = builder.variables("t", lower=-1.0)
    builder.add("rows", (n, [[1, 1, 1], [2, 2, 2]]), (t, -1.0), upper=[5, 6])
    builder.add("columns", (n.T, 1.0), equal=[7, 8, 9])
    builder.add("rows", (t, 1.0), lower=0.0)
    programme = builder.programme()
    assert n.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert programme.matrix.toarray().tolist() == [
        [1, 1, 1, 0, 0, 0, -1],
        [0, 0, 0, 2, 2, 2, -1],
        [0, 0, 0, 0, 0, 0, 1],
        [1, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 1, 0],
    ]
    assert [(f.name, f.start, f.stop) for f in programme.families] == [("rows", 0, 3), ("columns", 3, 6)]
    assert programme.row_upper.tolist() == [5, 6, np.inf, 7, 8, 9]
    assert programme.row_lower.tolist() == [-np.inf, -np.inf, 0, 7, 8, 9]
    assert programme.cost.tolist() == [1, 2, 3, 4, 5, 6, 0]
    assert programme.integer.tolist() == [True] * 6 + [False]
    assert programme.family_of(4).name == "columns"


def test_terms_on_one_variable_add_up_and_zeros_vanish() -> None:
    builder = Builder()
    x = builder.variables("x", 2)
    builder.add("sum", (x[None], [[1.0, 2.0]]), (x[:1], -1.0), equal=3.0)
    assert builder.programme().matrix.toarray().tolist() == [[0.0, 2.0]]
    assert builder.programme().matrix.nnz == 1


def test_what_values_keep() -> None:
    builder = Builder()
    x = builder.variables("x", 2, upper=3, integer=True)
    builder.add("most", (x[None], 1.0), upper=4.0)
    programme = builder.programme()
    assert programme.accepts(np.array([1.0, 3.0]))
    assert not programme.accepts(np.array([2.0, 3.0]))  # row
    assert not programme.accepts(np.array([0.0, 4.0]))  # bound
    assert not programme.accepts(np.array([0.5, 1.0]))  # whole
    assert programme.relaxed().accepts(np.array([0.5, 1.0]))
    assert not programme.accepts(np.array([np.nan, 1.0]))


def test_mistakes_are_refused() -> None:
    builder = Builder()
    x = builder.variables("x", 2)
    with pytest.raises(ValueError, match="identifier"):
        builder.variables("x")
    with pytest.raises(ValueError, match="above"):
        builder.variables("y", 2, lower=[0, 2], upper=1)
    with pytest.raises(ValueError, match="identifier"):
        builder.add("not a name", (x, 1.0))
    builder.add("bad", (x[None], [[1.0, np.inf]]), upper=1.0)
    with pytest.raises(ValueError, match="finite"):
        builder.programme()
