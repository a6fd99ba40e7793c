"""A programme as a PuLP problem."""

from __future__ import annotations

from typing import Any

import numpy as np

from planner.solvers.linear.programme import Programme


def pulp_problem(programme: Programme) -> tuple[Any, list[Any]]:
    """(PuLP problem, its variables in column order); names are ``block_index`` and ``family_index``.

    A row with two different finite sides becomes two constraints, since PuLP knows none with both.
    """
    import pulp

    problem = pulp.LpProblem("programme", pulp.LpMinimize)
    lower, upper = (
        [float(bound) if np.isfinite(bound) else None for bound in side]
        for side in (programme.lower, programme.upper)
    )
    kinds = np.where(programme.integer, pulp.LpInteger, pulp.LpContinuous).tolist()
    names = column_names(programme)
    variables = [problem.add_variable(*given) for given in zip(names, lower, upper, kinds, strict=True)]
    for at, variable in enumerate(variables):
        variable.index = at  # likewise the column
    priced = np.flatnonzero(programme.cost).tolist() or [0]  # PuLP adds a variable of its own to an empty one
    problem.setObjective(
        pulp.LpAffineExpression([(variables[at], float(programme.cost[at])) for at in priced])
    )
    for name, row, sense, side in _constraints(programme):
        start, stop = programme.matrix.indptr[row : row + 2]
        columns = programme.matrix.indices[start:stop].tolist()
        terms = zip(
            [variables[at] for at in columns], programme.matrix.data[start:stop].tolist(), strict=True
        )
        constraint = pulp.LpConstraint(pulp.LpAffineExpression(terms), sense, name, side)
        constraint.index = row  # where PuLP looks up the row of a solution
        problem.addConstraint(constraint)
    return problem, variables


def column_names(programme: Programme) -> list[str]:
    """A short name of each column: the block's, with its indices."""
    return [
        "_".join([block.name, *map(str, index)])
        for block in programme.blocks
        for index in np.ndindex(*block.shape)
    ]


def _constraints(programme: Programme) -> list[tuple[str, int, int, float]]:
    """(name, row, PuLP's sense: -1 at most, 0 equal, 1 at least, side)."""
    found = []
    for family in programme.families:
        for row in range(family.start, family.stop):
            name = f"{family.name}_{row - family.start}"
            low, high = float(programme.row_lower[row]), float(programme.row_upper[row])
            if low == high:
                found.append((name, row, 0, low))
                continue
            both = np.isfinite(low) and np.isfinite(high)
            if np.isfinite(high):
                found.append((name, row, -1, high))
            if np.isfinite(low):
                found.append((f"{name}_low" if both else name, row, 1, low))
    return found
