"""Seconds of placements: the traffic and the rates as the arrays that the kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from planner.solvers.placement.traffic import UNHIDDEN, Group, Term, Traffic

if TYPE_CHECKING:
    from planner.solvers.placement.kernel import Items

Nodes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Prices placements: arrays of the node of each place. Places beyond the layout's hold the nodes that stay idle.

    Args:
        traffic: what the places send.
        inverse: (nodes, nodes), seconds per byte, 0 on the diagonal.
        items: the traffic's groups, flat.
    """

    traffic: Traffic
    inverse: Floats
    items: Items

    def cost(self, nodes: Nodes) -> float:
        """Seconds of a step that communication takes beyond what computation hides (that counts ``UNHIDDEN``)."""
        from planner.solvers.placement.kernel import priced

        return float(priced(self.items, self.group_seconds(nodes), 0.0))

    def group_seconds(self, nodes: Nodes) -> Floats:
        """(groups,): seconds of every group, in the order of the terms."""
        from planner.solvers.placement.kernel import all_seconds

        values = np.empty(len(self.items.pattern))
        all_seconds(self.items, self.inverse, np.ascontiguousarray(nodes, dtype=np.int64), values)
        return values

    def term_seconds(self, nodes: Nodes) -> tuple[float, ...]:
        """Seconds of each term, hidden ones included."""
        values, term = self.group_seconds(nodes), self.items.term
        return tuple(float(values[term == index].max()) for index in range(len(self.traffic.terms)))


def scorer(traffic: Traffic, bandwidth: Floats) -> Scorer:
    """The scorer of a traffic on links.

    Args:
        bandwidth: (nodes, nodes), bytes/s from row to column; the diagonal is not read.

    Raises:
        ValueError: fewer nodes than places.
    """
    nodes = len(bandwidth)
    if nodes < traffic.places:
        raise ValueError(f"{traffic.places} places on {nodes} nodes")
    inverse = 1.0 / np.where(np.eye(nodes, dtype=np.bool_), np.inf, bandwidth)
    return Scorer(traffic, np.ascontiguousarray(inverse), _items(traffic.terms, nodes))


def _items(terms: Sequence[Term], nodes: int) -> Items:
    from planner.solvers.placement.kernel import Items

    groups = [(index, group) for index, term in enumerate(terms) for group in term.groups]
    sizes = [len(group.places) for _, group in groups]
    touching: list[list[int]] = [[] for _ in range(nodes)]
    for number, (_, group) in enumerate(groups):
        for place in sorted(set(group.places)):
            touching[place].append(number)
    return Items(
        start=_offsets(sizes),
        place=_whole(place for _, group in groups for place in group.places),
        ranks=_real(count for _, group in groups for count in _ranks(group)),
        pattern=_whole(_code(terms[index]) for index, _ in groups),
        term=_whole(index for index, _ in groups),
        term_start=_offsets([len(term.groups) for term in terms]),
        nbytes=_real(group.nbytes for _, group in groups),
        fixed=_real(group.fixed_s for _, group in groups),
        micro_batches=_whole(term.hops.micro_batches if term.hops else 1 for term in terms),
        weight=_real(term.hops.weight if term.hops else 1.0 for term in terms),
        around=_real(term.hops.around if term.hops else 0.0 for term in terms),
        inside=_real(term.hops.inside_s if term.hops else 0.0 for term in terms),
        hidden=_real(term.hidden_s for term in terms),
        unhidden=UNHIDDEN,
        touching_start=_offsets([len(numbers) for numbers in touching]),
        touching=_whole(number for numbers in touching for number in numbers),
    )


def _ranks(group: Group) -> Sequence[int]:
    return group.ranks or (1,) * len(group.places)


def _code(term: Term) -> int:
    from planner.solvers.placement.kernel import CHAIN, EXCHANGE, RECURRING, RING

    if term.pattern == "chain":
        return RECURRING if term.hops is not None and term.hops.recurring else CHAIN
    return RING if term.pattern == "ring" else EXCHANGE


def _offsets(sizes: Sequence[int]) -> Nodes:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)


def _whole(values: Any) -> Nodes:
    return np.array(list(values), dtype=np.int64)


def _real(values: Any) -> Floats:
    return np.array(list(values), dtype=np.float64)
