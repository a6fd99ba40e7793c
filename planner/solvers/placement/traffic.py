"""What the places of a layout send to each other in one step, apart from the nodes that will play them.

A *place* is a node's worth of consecutive ranks: place 0 holds ranks 0 to ``devices_per_node`` - 1. Groups inside a place
send nothing over the network. Formulas: docs/placement.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Pattern = Literal["chain", "ring", "exchange"]

UNHIDDEN = 0.01
"""Weight of seconds that computation hides anyway: among equally fast placements the one with less traffic on slow links."""


@dataclass(frozen=True)
class Group:
    """Places that exchange data together, all with the same pattern.

    Args:
        places: along a chain or ring, each once (a chain may stay on a place: equal neighbours).
        nbytes: *ring*: bytes of a step over every edge; *chain*: bytes of one message over every hop; *exchange*: bytes of
            a step from one rank to another one, in one direction.
        fixed_s: *ring*, *exchange*: seconds of a step that do not depend on the rates; *chain*: latency of one message.
        ranks: *exchange*: ranks of the group on each place.
    """

    places: tuple[int, ...]
    nbytes: float
    fixed_s: float = 0.0
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True)
class Hops:
    """How messages of a pipeline recur.

    Args:
        micro_batches: per step, in one direction.
        recurring: 1F1B and DualPipe, where every rank waits for the answer of the next one; otherwise all hops count alike.
        weight: seconds of the step per second of waiting; *recurring*: the share that nothing hides; else how often
            each crossing of a link is waited for.
        around: crossings from the last rank back to the first per crossing of another hop (chunks: (v - 1) / v).
        inside_s: one message between two ranks of the same place.
    """

    micro_batches: int
    recurring: bool
    weight: float = 1.0
    around: float = 0.0
    inside_s: float = 0.0


@dataclass(frozen=True)
class Term:
    """Transfers of one kind. They last as long as their slowest group.

    Args:
        axis: under which the plan reports them.
        groups: in no order.
        hidden_s: seconds of them that computation hides in the plan.
        hops: of a chain.
    """

    axis: str
    pattern: Pattern
    groups: tuple[Group, ...]
    hidden_s: float = 0.0
    hops: Hops | None = None

    @property
    def label(self) -> str:
        """The transfers in words."""
        return f"{self.axis} {'hops' if self.pattern == 'chain' else self.pattern}"


@dataclass(frozen=True)
class Traffic:
    """All transfers of a step that leave a node.

    Args:
        places: how many nodes the layout needs.
        terms: one after the other, none hides another one.
    """

    places: int
    terms: tuple[Term, ...]
