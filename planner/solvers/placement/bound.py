"""A time that no placement can beat: every term on its own, with each link as good as a relaxed choice of links allows.

The edges of all rings (or chains) of a term enter and leave a node at most once, so they are an assignment of nodes to nodes.
The best worst edge is then a bottleneck assignment, the least sum a linear one, both over as many edges as the term has. Where a
node has several edges, each edge becomes the best of its row. For patterns of degree one this is at least the bound of
Gilmore and Lawler, who let several rows choose the same column. Docs: docs/placement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from planner.solvers.placement.score import Floats, Scorer
from planner.solvers.placement.traffic import UNHIDDEN, Group, Term

LEVELS = 8
"""Sizes of groups for which a bound of their own is tried."""

ASSIGNED_NODES = 512
"""Beyond so many nodes each edge becomes the best of its row."""


def lower_bound(scorer: Scorer) -> float:
    """Seconds that ``scorer.cost`` of any placement reaches at least."""
    total = 0.0
    for term in scorer.traffic.terms:
        least = _term_bound(term, scorer.inverse)
        total += least - (1.0 - UNHIDDEN) * min(least, term.hidden_s)
    return total


def _term_bound(term: Term, inverse: Floats) -> float:
    bound = {"ring": _rings, "exchange": _exchanges, "chain": _chains}[term.pattern]
    sizes = sorted({group.nbytes for group in term.groups})
    levels = sizes if len(sizes) <= LEVELS else sizes[:: -(-len(sizes) // LEVELS)]
    return max(
        bound(term, [group for group in term.groups if group.nbytes >= least], inverse) for least in levels
    )


def _rings(term: Term, groups: Sequence[Group], inverse: Floats) -> float:
    edges = [
        (a, b)
        for group in groups
        for a, b in zip(group.places, (*group.places[1:], group.places[0]), strict=True)
    ]
    worst = _worst_edge(edges, inverse)
    return min(group.fixed_s for group in groups) + min(group.nbytes for group in groups) * worst


def _exchanges(term: Term, groups: Sequence[Group], inverse: Floats) -> float:
    """A node of a group of k sends to k - 1 others, at best over its best links."""
    partners = min(len(group.places) for group in groups) - 1
    ranks = min(min(group.ranks) for group in groups)
    places = {place for group in groups for place in group.places}
    ordered = np.sort(_apart(inverse), axis=1)[:, :partners].sum(axis=1)
    worst = float(np.sort(ordered)[len(places) - 1])
    least = min(group.fixed_s for group in groups)
    return least + min(group.nbytes for group in groups) * ranks * ranks * worst


def _chains(term: Term, groups: Sequence[Group], inverse: Floats) -> float:
    """Every hop the best there is but one, the best worst one; or the least sum of all hops, shared evenly."""
    from planner.solvers.placement.kernel import recurring_wait

    hops = term.hops
    if hops is None:
        return 0.0
    edges = [(a, b) for group in groups for a, b in pairwise(group.places) if a != b]
    size = min(len(group.places) for group in groups) - 1
    inside = max(sum(a == b for a, b in pairwise(g.places)) for g in groups)
    if not edges or size < 1:
        return 0.0
    nbytes, latency = min(group.nbytes for group in groups), 2.0 * min(group.fixed_s for group in groups)
    both = inverse + inverse.T
    worst = latency + nbytes * _worst_edge(edges, both)
    best = min(
        latency + nbytes * float(_apart(both).min()), *([2.0 * hops.inside_s] if inside else []), worst
    )
    least = latency * len(edges) + nbytes * _least_sum(edges, both)
    mean = (least + 2.0 * hops.inside_s * _inside(groups)) / len(groups)
    if not hops.recurring:
        return hops.weight * (max(best * (size - 1) + worst, mean) + hops.around * best)
    one_slow = min(
        float(recurring_wait(np.where(np.arange(size) == place, worst, best), hops.micro_batches))
        for place in range(size)
    )
    return hops.weight * max(one_slow, _whole_pipeline(size, hops.micro_batches) * mean)


def _whole_pipeline(hops: int, micro_batches: int) -> float:
    """What 1F1B loses per second of one message over all hops there and back, if the whole pipeline is the slow stretch."""
    ranks = hops + 1
    left = micro_batches - 1
    return 1.0 + (left // ranks + max(left % ranks - 1, 0) / hops if left >= 1 else 0.0)


def _inside(groups: Sequence[Group]) -> int:
    return sum(a == b for group in groups for a, b in pairwise(group.places))


def _apart(matrix: Floats) -> Floats:
    """The matrix with an infinite diagonal."""
    return np.where(np.eye(len(matrix), dtype=np.bool_), np.inf, matrix)


def _assigned(edges: Sequence[tuple[int, int]], nodes: int) -> bool:
    sources, targets = {a for a, _ in edges}, {b for _, b in edges}
    return len(sources) == len(targets) == len(edges) and nodes <= ASSIGNED_NODES


def _worst_edge(edges: Sequence[tuple[int, int]], cost: Floats) -> float:
    """The least that the costliest of the edges can cost."""
    apart = _apart(cost)
    if not _assigned(edges, len(cost)):
        sources = len({a for a, _ in edges})
        return float(np.sort(apart.min(axis=1))[sources - 1])
    values = np.unique(apart[np.isfinite(apart)])
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if _matching(apart <= values[middle]) >= len(edges):
            high = middle
        else:
            low = middle + 1
    return float(values[low])


def _matching(allowed: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    return int((maximum_bipartite_matching(csr_array(allowed)) >= 0).sum())


def _least_sum(edges: Sequence[tuple[int, int]], cost: Floats) -> float:
    """The least that the edges can cost together."""
    nodes, count = len(cost), len(edges)
    apart = _apart(cost)
    if not _assigned(edges, nodes):
        return count * float(apart.min())
    from scipy.optimize import linear_sum_assignment

    # So many dummies that exactly ``count`` rows and columns are left to each other.
    size = 2 * nodes - count
    forbidden = 1.0 + float(np.abs(cost).max()) * (nodes + 1)
    padded = np.zeros((size, size))
    padded[:nodes, :nodes] = np.where(np.isfinite(apart), apart, forbidden)
    padded[nodes:, nodes:] = forbidden
    rows, columns = linear_sum_assignment(padded)
    return float(padded[rows, columns].sum())
