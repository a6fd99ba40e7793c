"""Grows a table of layouts by one group of knobs, with choices that depend on few of the columns already there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.rules.facts import Facts
from planner.layouts.rules.rule import Mask, Rule

Choice = tuple[int, ...]


@dataclass(frozen=True)
class Factor:
    """One group of knobs of the space.

    Args:
        keys: columns that the choices depend on.
        fills: columns that it sets.
        choices: values of the keys -> distinct rows of values for ``fills``, legal or not.
        local_rules: rules decided by ``keys`` and ``fills`` alone: they drop choices before the table grows.
        other_rules: rules that read more columns: they drop rows of the grown table.
    """

    keys: tuple[str, ...]
    fills: tuple[str, ...]
    choices: Callable[[Mapping[str, int]], Sequence[Choice]]
    local_rules: tuple[Rule, ...] = ()
    other_rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class ChoiceTable:
    """Legal choices of one factor for the rows of a table.

    Args:
        group: for each row which list of choices it has, shape (rows,).
        start, count: where each list lies in ``values``, shape (groups,).
        values: all lists one after another, shape (choices, fills).
    """

    group: IntArray
    start: IntArray
    count: IntArray
    values: IntArray

    @property
    def per_row(self) -> IntArray:
        """Number of choices of each row."""
        return self.count[self.group]


def choice_table(layouts: Layouts, factor: Factor, facts: Facts) -> ChoiceTable:
    """The choices of every row, after the rules that need nothing else."""
    if factor.keys:
        first, group = layouts.unique(factor.keys)
    else:
        first, group = np.zeros(min(1, len(layouts)), dtype=np.int64), np.zeros(len(layouts), dtype=np.int64)
    lists = []
    for row in first.tolist():
        keys = {name: int(layouts.columns[name][row]) for name in factor.keys}
        lists.append(np.array(factor.choices(keys), dtype=np.int64).reshape(-1, len(factor.fills)))
    count = np.array([len(rows) for rows in lists], dtype=np.int64)
    values = np.concatenate(lists) if lists else np.zeros((0, len(factor.fills)), dtype=np.int64)
    owner = np.repeat(np.arange(len(first)), count)
    legal = _legal(_filled(layouts, first[owner], factor.fills, values), factor.local_rules, facts)
    count = np.bincount(owner[legal], minlength=len(first)).astype(np.int64)
    return ChoiceTable(group, np.cumsum(count) - count, count, values[legal])


def grow(layouts: Layouts, factor: Factor, facts: Facts) -> tuple[Layouts, IntArray]:
    """Every row with every one of its choices.

    Returns:
        (table, parent): the grown table and for each of its rows the row it came from.
    """
    table = choice_table(layouts, factor, facts)
    per_row = table.per_row
    parent = np.repeat(np.arange(len(layouts), dtype=np.int64), per_row)
    place = np.arange(len(parent), dtype=np.int64) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    chosen = np.repeat(table.start[table.group], per_row) + place
    grown = _filled(layouts, parent, factor.fills, table.values[chosen])
    if not factor.other_rules:
        return grown, parent
    legal = _legal(grown, factor.other_rules, facts)
    return grown.take(legal), parent[legal]


def assign_rules(
    factors: Sequence[Factor], known: Sequence[str], rules: Sequence[Rule]
) -> tuple[tuple[Rule, ...], tuple[Factor, ...]]:
    """Gives every rule to the first factor after which all its columns are set.

    Args:
        factors: in the order of growth, without rules.
        known: columns of the table that growth starts from.

    Returns:
        (rules of the starting table, factors with rules).
    """
    have = set(known)
    left = list(rules)
    start = tuple(rule for rule in left if set(rule.columns) <= have)
    left = [rule for rule in left if rule not in start]
    result = []
    for factor in factors:
        have |= set(factor.fills)
        ready = [rule for rule in left if set(rule.columns) <= have]
        left = [rule for rule in left if rule not in ready]
        near = {*factor.keys, *factor.fills}
        local = tuple(rule for rule in ready if set(rule.columns) <= near)
        other = tuple(rule for rule in ready if rule not in local)
        result.append(Factor(factor.keys, factor.fills, factor.choices, local, other))
    if left:
        raise ValueError(f"no factor sets the columns of the rules {[rule.name for rule in left]}")
    return start, tuple(result)


def _filled(layouts: Layouts, rows: IntArray, fills: tuple[str, ...], values: IntArray) -> Layouts:
    kept = {name: column[rows] for name, column in layouts.columns.items() if name not in fills}
    filled = {name: values[:, place] for place, name in enumerate(fills)}
    return replace(layouts, columns={**kept, **filled})


def _legal(layouts: Layouts, rules: Sequence[Rule], facts: Facts) -> Mask:
    legal = np.ones(len(layouts), dtype=np.bool_)
    for rule in rules:
        legal &= rule.holds(layouts, facts)
    return legal
