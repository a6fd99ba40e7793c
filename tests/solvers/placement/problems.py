"""Problems for the tests of placement, and their costs written a second time, without the package's arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from planner.solvers.placement.traffic import Group, Hops, Term, Traffic

Floats = NDArray[np.float64]


def grid(
    stages: int,
    replicas: int,
    micro_batches: int = 32,
    message: float = 1e8,
    gradients: float = 2e10,
    *,
    recurring: bool = True,
    hidden_s: float = 0.0,
) -> Traffic:
    """Pipelines x replicas, a place each, replicas next to each other."""
    chains = [tuple(stage * replicas + replica for stage in range(stages)) for replica in range(replicas)]
    rings = [tuple(stage * replicas + replica for replica in range(replicas)) for stage in range(stages)]
    terms = []
    if stages > 1:
        hops = Hops(micro_batches, recurring, 1.0 if recurring else 3.0)
        terms.append(Term("pp", "chain", tuple(Group(chain, message, 1e-5) for chain in chains), hops=hops))
    if replicas > 1:
        terms.append(Term("dp", "ring", tuple(Group(ring, gradients, 1e-3) for ring in rings), hidden_s))
    return Traffic(stages * replicas, tuple(terms))


def matrix(nodes: int, seed: int, slow: float = 0.15, rate: float = 1e11) -> Floats:
    """Rates within some percent of each other, but of a part of the pairs only a quarter; not symmetric."""
    generator = np.random.default_rng(seed)
    rates = rate * (1.0 + 0.05 * generator.uniform(-1.0, 1.0, (nodes, nodes)))
    pairs = np.triu(generator.random((nodes, nodes)) < slow, 1)
    rates[pairs | pairs.T] *= 0.25
    return rates


def plain_cost(traffic: Traffic, rates: Floats, nodes: Sequence[int]) -> float:
    """The cost of a placement by the formulas of docs/placement.md, one loop each."""
    total = 0.0
    for term in traffic.terms:
        slowest = max(
            _seconds(term, group, rates, [nodes[place] for place in group.places]) for group in term.groups
        )
        total += max(slowest - term.hidden_s, 0.0) + 0.01 * min(slowest, term.hidden_s)
    return total


def _seconds(term: Term, group: Group, rates: Floats, nodes: Sequence[int]) -> float:
    count = len(nodes)
    if term.pattern == "ring":
        slowest = min(rates[nodes[i], nodes[(i + 1) % count]] for i in range(count))
        return group.fixed_s + group.nbytes / slowest
    if term.pattern == "exchange":
        cards = [
            max(
                sum(
                    group.ranks[i] * group.ranks[j] * group.nbytes / rates[pair(i, j)]
                    for j in range(count)
                    if j != i
                )
                for i in range(count)
            )
            for pair in (lambda i, j: (nodes[i], nodes[j]), lambda i, j: (nodes[j], nodes[i]))
        ]
        return group.fixed_s + max(cards)
    assert term.hops is not None
    both = [
        2 * group.fixed_s + group.nbytes / rates[a, b] + group.nbytes / rates[b, a]
        for a, b in pairwise(nodes)
    ]
    if not term.hops.recurring:
        return term.hops.weight * sum(both)
    return term.hops.weight * plain_wait(both, term.hops.micro_batches)


def plain_wait(both: Sequence[float], micro_batches: int) -> float:
    """Seconds lost under 1F1B: all hops once, the way to a stretch, and its turns."""
    ranks = len(both) + 1
    found = [sum(both)]
    for first in range(ranks):
        for last in range(first + 1, ranks):
            left = micro_batches - 1 - (ranks - 1 - last)
            if left >= 1:
                width = last - first + 1
                whole, rest = divmod(left, width)
                turns = whole + max(rest - 1, 0) / (width - 1)
                found.append(sum(both) + sum(both[last:]) + turns * sum(both[first:last]))
    return max(found)
