"""Seconds of a placement and annealing over placements, compiled. Import it inside functions only: numba takes long to load.

A placement is an array: the node of each place. ``inverse``: (nodes, nodes), seconds per byte, 0 on the diagonal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulator.engine.jit import jit

Array = NDArray[Any]

CHAIN, RECURRING, RING, EXCHANGE = 0, 1, 2, 3

SWAP, SWAP_WORST, REVERSE, INSERT, REVERSE_ROUTE, SHIFT_ROUTE, SWAP_ROUTES = 0, 1, 2, 3, 4, 5, 6

SHARES = (0.25, 0.6, 0.7, 0.85, 0.9, 0.95, 1.0)
"""Moves in the order of their codes: the probability of each one or an earlier one."""

LONGEST_RUN = 16
"""Places that a reversal or an insertion changes at most: longer runs touch most groups, and are hardly ever kept."""

DRAWS = 5
"""Random numbers of one step: the move, where, how far, a term or direction, whether it is kept."""


class Items(NamedTuple):
    """The groups of all terms as flat arrays.

    Args:
        start: (groups + 1,), into ``place`` and ``ranks``.
        place, ranks: places of each group, and its ranks on each.
        pattern, term: (groups,); groups of a term stand together, from its ``term_start`` on.
        nbytes, fixed: (groups,), as in ``Group``.
        micro_batches, weight, around, inside: (terms,), of chains.
        hidden: (terms,), seconds that count only ``unhidden``.
        unhidden: that weight.
        touching_start, touching: groups that each place belongs to.
    """

    start: Array
    place: Array
    ranks: Array
    pattern: Array
    term: Array
    term_start: Array
    nbytes: Array
    fixed: Array
    micro_batches: Array
    weight: Array
    around: Array
    inside: Array
    hidden: Array
    unhidden: float
    touching_start: Array
    touching: Array


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
def recurring_wait(there_and_back: Array, micro_batches: int) -> float:  # pragma: no cover
    """Seconds that 1F1B is longer for its messages: the walk over passes and hops that loses most.

    Every micro-batch crosses all hops once there and back. Besides, the critical path bounces between two ranks i < j: one
    turn of 2 (j - i + 1) passes crosses the hops between them once there and back, and lasts j - i + 1 micro-batches. With equal
    hops the whole pipeline is the slowest stretch, and the count is 2 (p + m - 2 - ceil((m - 1) / p)).

    Args:
        there_and_back: (p - 1,), seconds of one message forward plus one backward over each hop.
    """
    ranks = len(there_and_back) + 1
    total = there_and_back.sum()
    longest = total
    way = 0.0
    for last in range(ranks - 1, 0, -1):
        left = micro_batches - 1 - (ranks - 1 - last)
        if left < 1:
            break
        stretch = 0.0
        for first in range(last - 1, -1, -1):
            stretch += there_and_back[first]
            width = last - first + 1
            turns = left // width + max(left % width - 1, 0) / (width - 1)
            longest = max(longest, total + way + stretch * turns)
        way += there_and_back[last - 1]
    return float(longest)


@jit
def hop(items: Items, inverse: Array, nodes: Array, group: int, a: int, b: int) -> float:  # pragma: no cover
    """Seconds of one message from place a to place b and one back."""
    if a == b:
        return 2.0 * float(items.inside[items.term[group]])
    u, v = nodes[a], nodes[b]
    return float(items.nbytes[group] * (inverse[u, v] + inverse[v, u]) + 2.0 * items.fixed[group])


@jit
def group_seconds(items: Items, inverse: Array, nodes: Array, group: int) -> float:  # pragma: no cover
    """Seconds of a step that the transfers of one group take."""
    low, high = items.start[group], items.start[group + 1]
    place, pattern, term = items.place, items.pattern[group], items.term[group]
    worst = 0.0
    if pattern == RING:
        for at in range(low, high):
            after = at + 1 if at + 1 < high else low
            worst = max(worst, inverse[nodes[place[at]], nodes[place[after]]])
        return float(items.fixed[group] + items.nbytes[group] * worst)
    if pattern == EXCHANGE:
        for at in range(low, high):
            out, into = 0.0, 0.0
            for other in range(low, high):
                out += items.ranks[other] * inverse[nodes[place[at]], nodes[place[other]]]
                into += items.ranks[other] * inverse[nodes[place[other]], nodes[place[at]]]
            worst = max(worst, items.ranks[at] * max(out, into))
        return float(items.fixed[group] + items.nbytes[group] * worst)
    hops = np.empty(high - low - 1)
    for at in range(low, high - 1):
        hops[at - low] = hop(items, inverse, nodes, group, place[at], place[at + 1])
    if pattern == RECURRING:
        return float(items.weight[term] * recurring_wait(hops, items.micro_batches[term]))
    ends = 0.0
    if items.around[term] > 0.0:
        ends = items.around[term] * hop(items, inverse, nodes, group, place[high - 1], place[low])
    return float(items.weight[term] * (hops.sum() + ends))


@jit
def priced(items: Items, values: Array, spread: float) -> float:  # pragma: no cover
    """What all groups cost together: of each term the slowest group, less what is hidden.

    Args:
        values: (groups,), seconds.
        spread: weight of the mean over a term's groups, which leads a search over plateaus of the maximum; 0 for the cost.
    """
    total = 0.0
    for term in range(len(items.hidden)):
        low, high = items.term_start[term], items.term_start[term + 1]
        worst, summed = 0.0, 0.0
        for group in range(low, high):
            worst = max(worst, values[group])
            summed += values[group]
        free = min(worst, items.hidden[term])
        total += worst - (1.0 - items.unhidden) * free + spread * summed / max(high - low, 1)
    return float(total)


@jit
def all_seconds(items: Items, inverse: Array, nodes: Array, values: Array) -> None:  # pragma: no cover
    """Seconds of every group, into ``values``."""
    for group in range(len(values)):
        values[group] = group_seconds(items, inverse, nodes, group)


@jit
def best_of_all(items: Items, inverse: Array, nodes: Array) -> float:  # pragma: no cover
    """Tries all permutations in lexicographic order, from ``nodes`` ascending; the first best one is left in it."""
    current = np.sort(nodes)
    values = np.empty(len(items.pattern))
    all_seconds(items, inverse, current, values)
    best = priced(items, values, 0.0)
    nodes[:] = current
    while True:
        pivot = len(current) - 2
        while pivot >= 0 and current[pivot] >= current[pivot + 1]:
            pivot -= 1
        if pivot < 0:
            return float(best)
        successor = len(current) - 1
        while current[successor] <= current[pivot]:
            successor -= 1
        current[pivot], current[successor] = current[successor], current[pivot]
        current[pivot + 1 :] = current[pivot + 1 :][::-1].copy()
        all_seconds(items, inverse, current, values)
        cost = priced(items, values, 0.0)
        if cost < best * (1.0 - 1e-12):
            best = cost
            nodes[:] = current


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
        low = int(draws[1] * len(nodes))
        size = min(1 + int(draws[2] * LONGEST_RUN), len(nodes) - low)
        shift = 1 if draws[3] < 0.5 else size - 1
        for at in range(size):
            source = size - 1 - at if kind == REVERSE else (at + shift) % size
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
    slowest = items.term_start[term]
    for group in range(slowest, items.term_start[term + 1]):
        if state.values[group] > state.values[slowest]:
            slowest = group
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
