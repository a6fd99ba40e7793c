"""How far published timings support a collective's price."""

from __future__ import annotations

from planner.costs.collectives.types import Collective

BY_IDENTITY: tuple[Collective, ...] = ("all_gather", "reduce_scatter", "all_to_all", "broadcast")
"""Collectives of which almost no timing between nodes is published."""

LOW_CONFIDENCE = (
    "between nodes, all-gather, reduce-scatter and all-to-all follow from all-reduce by identities; "
    "almost no timing of theirs is published: confidence is low"
)


def doubted_between_nodes(collective: Collective) -> bool:
    """Whether its price between nodes rests on identities with all-reduce alone (half of a ring all-reduce each)."""
    return collective in BY_IDENTITY
