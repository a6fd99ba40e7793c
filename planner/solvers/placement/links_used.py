"""Which links a placement uses, and which slow ones it avoids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from planner.hardware.links import Links
from planner.solvers.placement.score import Nodes
from planner.solvers.placement.traffic import Group, Term, Traffic

SLOW = 0.8
"""A link is slow below this part of the median rate."""

Pair = tuple[int, int]


@dataclass(frozen=True)
class LinkUse:
    """Ordered pairs of nodes with the axes that send over them.

    Args:
        before, after: of nodes in rank order, and as placed.
        slow: pairs below ``SLOW`` of the median.
        median: bytes/s.
    """

    before: Mapping[Pair, frozenset[str]]
    after: Mapping[Pair, frozenset[str]]
    slow: frozenset[Pair]
    median: float

    def avoided(self) -> list[Pair]:
        """Slow links that rank order uses and the placement does not."""
        return sorted(pair for pair in self.slow if pair in self.before and pair not in self.after)

    def kept(self) -> list[Pair]:
        """Slow links that the placement uses."""
        return sorted(pair for pair in self.slow if pair in self.after)

    def to_json(self, links: Links) -> Mapping[str, Any]:
        """Plain data."""

        def rows(pairs: list[Pair], used: Mapping[Pair, frozenset[str]]) -> list[Mapping[str, Any]]:
            return [
                {
                    "from": links.names[a],
                    "to": links.names[b],
                    "bytes_per_s": float(links.bandwidth[a, b]),
                    "axes": sorted(used[a, b]),
                }
                for a, b in pairs
            ]

        return {
            "median_bytes_per_s": self.median,
            "slow": len(self.slow),
            "avoided": rows(self.avoided(), self.before),
            "still_used": rows(self.kept(), self.after),
        }


def links_used(traffic: Traffic, links: Links, nodes: Nodes) -> LinkUse:
    """The links of rank order and of a placement."""
    median = float(np.median(links.between()))
    a, b = np.nonzero(links.bandwidth < SLOW * median)
    start = np.arange(len(nodes))
    return LinkUse(
        before=_used(traffic, start),
        after=_used(traffic, nodes),
        slow=frozenset(zip(a.tolist(), b.tolist(), strict=True)),
        median=median,
    )


def _used(traffic: Traffic, nodes: Nodes) -> Mapping[Pair, frozenset[str]]:
    found: dict[Pair, set[str]] = {}
    for term in traffic.terms:
        for group in term.groups:
            for a, b in place_pairs(term, group):
                found.setdefault((int(nodes[a]), int(nodes[b])), set()).add(term.axis)
    return {pair: frozenset(axes) for pair, axes in found.items()}


def place_pairs(term: Term, group: Group) -> Iterator[Pair]:
    """Ordered pairs of places between which a group sends."""
    places = group.places
    if term.pattern == "exchange":
        yield from ((a, b) for a in places for b in places if a != b)
        return
    if term.pattern == "ring":
        yield from zip(places, (*places[1:], places[0]), strict=True)
        return
    around = term.hops is not None and term.hops.around > 0.0
    chain = (*places, places[0]) if around else places
    for a, b in pairwise(chain):
        if a != b:
            yield a, b
            yield b, a
