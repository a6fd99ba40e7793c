"""Simulated annealing over placements, compiled: a move prices only the groups that it touches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulator.engine.jit import jit
from planner.solvers.placement.kernel import Items, all_seconds, group_seconds, priced

Array = NDArray[Any]

SWAP, SWAP_WORST, REVERSE, INSERT, REVERSE_ROUTE, SHIFT_ROUTE, SWAP_ROUTES = 0, 1, 2, 3, 4, 5, 6

SHARES = (0.25, 0.6, 0.7, 0.85, 0.9, 0.95, 1.0)
"""Moves in the order of their codes: the probability of each one or an earlier one."""

DRAWS = 5
"""Random numbers of one step: the move, its two ends, a term, whether it is kept."""


class State(NamedTuple):
    """A placement with the seconds of its groups, and the last move.

    Args:
        nodes, values: node of each place; seconds of each group.
        changed, fresh: places of the move, and the nodes that they get (once it is made: had).
        touched, before: groups of the move, and their seconds before it.
        place_seen, group_seen: number of the last move that saw each.
    """

    nodes: Array
    values: Array
    changed: Array
    fresh: Array
    touched: Array
    before: Array
    place_seen: Array
    group_seen: Array


@jit
def propose(items: Items, state: State, draws: Array) -> int:  # pragma: no cover
    """Writes a random move into ``changed`` and ``fresh``; how many places it changes.

    Moves: swap two places; the same, one of the slowest group of a term; reverse a run of places; take a place out and insert
    it elsewhere; reverse the route of a group; shift it by one; swap the routes of two equally long groups of a term.
    """
    nodes, changed, fresh = state.nodes, state.changed, state.fresh
    kind = 0
    while draws[0] >= SHARES[kind]:
        kind += 1
    if kind in (SWAP, SWAP_WORST):
        a, b = int(draws[1] * len(nodes)), int(draws[2] * len(nodes))
        if kind == SWAP_WORST:
            a = slow_place(items, state, int(draws[3] * len(items.hidden)), draws[1])
        changed[0], changed[1], fresh[0], fresh[1] = a, b, nodes[b], nodes[a]
        return 0 if a == b else 2
    if kind in (REVERSE, INSERT):
        a, b = int(draws[1] * len(nodes)), int(draws[2] * len(nodes))
        low, size = min(a, b), abs(a - b) + 1
        for at in range(size):
            source = size - 1 - at if kind == REVERSE else (at + (1 if a < b else size - 1)) % size
            changed[at], fresh[at] = low + at, nodes[low + source]
        return 0 if size == 1 else size
    group = int(draws[1] * len(items.pattern))
    low, size = items.start[group], int(items.start[group + 1] - items.start[group])
    if kind == SWAP_ROUTES:
        return int(routes_swapped(items, state, group, int(draws[2] * len(items.pattern))))
    for at in range(size):
        source = size - 1 - at if kind == REVERSE_ROUTE else (at + 1) % size
        changed[at], fresh[at] = items.place[low + at], nodes[items.place[low + source]]
    return int(size)


@jit
def slow_place(items: Items, state: State, term: int, draw: float) -> int:  # pragma: no cover
    """A place of the slowest group of a term."""
    slowest, longest = 0, -1.0
    for group in range(len(items.pattern)):
        if items.term[group] == term and state.values[group] > longest:
            slowest, longest = group, state.values[group]
    low = items.start[slowest]
    return int(items.place[low + int(draw * (items.start[slowest + 1] - low))])


@jit
def routes_swapped(items: Items, state: State, group: int, other: int) -> int:  # pragma: no cover
    """The move that gives two groups each other's nodes; nothing where they do not match."""
    low, begin = items.start[group], items.start[other]
    size = int(items.start[group + 1] - low)
    if items.term[other] != items.term[group] or items.start[other + 1] - begin != size or other == group:
        return 0
    for at in range(size):
        a, b = items.place[low + at], items.place[begin + at]
        state.changed[2 * at], state.changed[2 * at + 1] = a, b
        state.fresh[2 * at], state.fresh[2 * at + 1] = state.nodes[b], state.nodes[a]
    return 2 * size


@jit
def changes_twice(state: State, size: int, move: int) -> bool:  # pragma: no cover
    """Whether a place stands in the move more than once (routes may share places)."""
    for at in range(size):
        if state.place_seen[state.changed[at]] == move:
            return True
        state.place_seen[state.changed[at]] = move
    return False


@jit
def make(items: Items, inverse: Array, state: State, size: int, move: int) -> int:  # pragma: no cover
    """Makes the move and prices the groups on its places; how many there are."""
    found = 0
    for at in range(size):
        place = state.changed[at]
        state.nodes[place], state.fresh[at] = state.fresh[at], state.nodes[place]
        for index in range(items.touching_start[place], items.touching_start[place + 1]):
            group = items.touching[index]
            if state.group_seen[group] != move:
                state.group_seen[group] = move
                state.touched[found] = group
                found += 1
    for index in range(found):
        group = state.touched[index]
        state.before[index] = state.values[group]
        state.values[group] = group_seconds(items, inverse, state.nodes, group)
    return found


@jit
def take_back(state: State, size: int, found: int) -> None:  # pragma: no cover
    """Undoes the last move."""
    for index in range(found):
        state.values[state.touched[index]] = state.before[index]
    for at in range(size):
        state.nodes[state.changed[at]] = state.fresh[at]


@jit
def anneal(  # pragma: no cover
    items: Items, inverse: Array, state: State, draws: Array, samples: int, spread: float
) -> float:
    """Anneals ``state.nodes``, leaves the best placement there and returns its cost.

    The first temperature is the mean change of the first ``samples`` moves, none of which is kept; it falls to a thousandth
    by the same factor at each step. Uphill moves of d pass with probability exp(-d / temperature), none in the last tenth.

    Args:
        draws: (moves, ``DRAWS``), uniform in [0, 1).
        spread: as in ``priced``.
    """
    all_seconds(items, inverse, state.nodes, state.values)
    energy, lowest = priced(items, state.values, spread), priced(items, state.values, 0.0)
    best = state.nodes.copy()
    temperature, moves = 0.0, len(draws)
    uphill = samples + 0.9 * (moves - samples)
    cooling = 1e-3 ** (1.0 / max(uphill - samples, 1.0))
    for move in range(moves):
        if move >= samples:
            temperature = temperature * cooling if move < uphill else 0.0
        size = propose(items, state, draws[move])
        if size == 0 or changes_twice(state, size, move):
            continue
        found = make(items, inverse, state, size, move)
        rise = priced(items, state.values, spread) - energy
        if move < samples:
            temperature += abs(rise) / samples
        if move < samples or (rise > 0.0 and draws[move, 4] >= np.exp(-rise / max(temperature, 1e-300))):
            take_back(state, size, found)
            continue
        energy += rise
        cost = priced(items, state.values, 0.0)
        if cost < lowest:
            lowest = cost
            best[:] = state.nodes
    state.nodes[:] = best
    return float(lowest)
