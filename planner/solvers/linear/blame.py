"""Which families of constraints make a programme infeasible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from planner.errors import NoAnswerError
from planner.solvers.linear.programme import Block, Family, Programme
from planner.solvers.linear.solve import solve

_MOST_TOGETHER = 3
_TIME_LIMIT_S = 5.0


@dataclass(frozen=True)
class Remedy:
    """Families that, broken together by as little as possible, let the rest be kept.

    Args:
        misses: per family the sum over its rows by which their sides must give way.
    """

    families: tuple[Family, ...]
    misses: tuple[float, ...]


@dataclass(frozen=True)
class Blame:
    """Why nothing satisfies a programme.

    Args:
        conflict: families that contradict each other, none of which can be left out of the contradiction.
        remedies: the smallest sets of families whose relaxation suffices, the smallest miss first.
        integer: whether fractions would do, so that only whole numbers are the trouble.
    """

    conflict: tuple[Family, ...]
    remedies: tuple[Remedy, ...]
    integer: bool = False

    @property
    def text(self) -> str:
        """One sentence for people."""
        shown = [family for family in self.conflict if not family.definition] or list(self.conflict)
        names = " and ".join(_called(family) for family in shown) or "the bounds of the variables"
        together = "cannot be met" if len(shown) <= 1 else "contradict each other"
        whole = " in whole numbers" if self.integer else ""
        ways = "; or ".join(_way(remedy) for remedy in self.remedies)
        return f"{names} {together}{whole}" + (f": {ways}" if ways else "")


def blame(programme: Programme, *, time_limit_s: float = _TIME_LIMIT_S) -> Blame | None:
    """The families that make a programme infeasible; None when it is feasible.

    The contradiction is found by leaving out one family after the other (a deletion filter: Chinneck, Feasibility and
    Infeasibility in Optimization, 2008, chapter 6), by how much a family is missed by giving its rows slack at a price.

    Args:
        time_limit_s: for each of the solves, of which there are a few per family.
    """
    integer = not _infeasible(programme.relaxed(), time_limit_s)
    asked = programme if integer else programme.relaxed()
    if integer and not _infeasible(programme, time_limit_s):
        return None
    conflict = list(asked.families)
    for family in asked.families:
        fewer = [other for other in conflict if other is not family]
        if _infeasible(_only(asked, fewer), time_limit_s):
            conflict = fewer
    loose = [family for family in asked.families if not family.definition]
    for size in range(1, _MOST_TOGETHER + 1):
        tried = (_remedy(asked, chosen, time_limit_s) for chosen in combinations(loose, size))
        remedies = [remedy for remedy in tried if remedy is not None]
        if remedies:
            return Blame(tuple(conflict), tuple(sorted(remedies, key=lambda one: sum(one.misses))), integer)
    return Blame(tuple(conflict), (), integer)


def no_answer(programme: Programme, *, what: str) -> NoAnswerError:
    """The error for a programme without solution, in words: ``what`` was looked for, and which family forbids it."""
    found = blame(programme)
    return NoAnswerError(f"no {what}: {'the solver found none' if found is None else found.text}")


def _infeasible(programme: Programme, time_limit_s: float) -> bool:
    free = replace(programme, cost=np.zeros(programme.columns))
    return solve(free, time_limit_s=time_limit_s).status == "infeasible"


def _only(programme: Programme, families: Iterable[Family]) -> Programme:
    """The programme with the rows of some families only (the others may take any value)."""
    kept = np.zeros(programme.rows, np.bool_)
    for family in families:
        kept[family.start : family.stop] = True
    lower, upper = (np.where(kept, side, free) for side, free in _sides(programme))
    return replace(programme, row_lower=lower, row_upper=upper)


def _sides(programme: Programme) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
    return (programme.row_lower, -np.inf), (programme.row_upper, np.inf)


def _remedy(programme: Programme, families: tuple[Family, ...], time_limit_s: float) -> Remedy | None:
    """By how little these families must give way together; None when that does not help."""
    from scipy.sparse import coo_matrix, hstack

    rows = np.concatenate([np.arange(family.start, family.stop) for family in families])
    places = np.arange(len(rows))
    shape = (programme.rows, len(rows))
    slack = [coo_matrix((np.full(len(rows), sign), (rows, places)), shape) for sign in (1.0, -1.0)]
    extra = 2 * len(rows)
    elastic = Programme(
        (*programme.blocks, Block("slack", programme.columns, (2, len(rows)))),
        programme.families,
        np.concatenate([np.zeros(programme.columns), np.ones(extra)]),
        np.concatenate([programme.lower, np.zeros(extra)]),
        np.concatenate([programme.upper, np.full(extra, np.inf)]),
        np.concatenate([programme.integer, np.zeros(extra, np.bool_)]),
        programme.row_lower,
        programme.row_upper,
        hstack([programme.matrix, *slack]).tocsr(),
    )
    found = solve(elastic, time_limit_s=time_limit_s, gap=1e-4)
    if found.values is None:
        return None
    moved = found.values[programme.columns :].reshape(2, -1).sum(axis=0)
    ends = np.cumsum([family.stop - family.start for family in families])[:-1]
    return Remedy(families, tuple(float(part.sum()) for part in np.split(moved, ends)))


def _called(family: Family) -> str:
    return f"{family.name} ({family.meaning})" if family.meaning else family.name


def _way(remedy: Remedy) -> str:
    parts = [
        f"{family.name} relaxed by {miss:.4g}{' ' + family.unit if family.unit else ''} in total"
        for family, miss in zip(remedy.families, remedy.misses, strict=True)
    ]
    return f"feasible with {' and '.join(parts)}"
