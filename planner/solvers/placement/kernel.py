"""Seconds of a placement, compiled. Import it inside functions only: numba takes long to load.

A placement is an array: the node of each place. ``inverse``: (nodes, nodes), seconds per byte, 0 on the diagonal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.simulator.engine.jit import jit

Array = NDArray[Any]

CHAIN, RECURRING, RING, EXCHANGE = 0, 1, 2, 3


class Items(NamedTuple):
    """The groups of all terms as flat arrays.

    Args:
        start: (groups + 1,), into ``place`` and ``ranks``.
        place, ranks: places of each group, and its ranks on each.
        pattern, term: (groups,).
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
    terms = len(items.hidden)
    worst, sums, counts = np.zeros(terms), np.zeros(terms), np.zeros(terms)
    for group in range(len(values)):
        term = items.term[group]
        worst[term] = max(worst[term], values[group])
        sums[term] += values[group]
        counts[term] += 1.0
    total = 0.0
    for term in range(terms):
        free = min(worst[term], items.hidden[term])
        total += worst[term] - (1.0 - items.unhidden) * free + spread * sums[term] / max(counts[term], 1.0)
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
