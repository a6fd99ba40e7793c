"""What the choice of shardings is made of: nodes with alternatives, and wires between them that cost by pair.

A node is an operator, a stored tensor (parameter, input, constant) or an output, with one alternative per placement. All
copies of a repeated block share one node. A wire is a value: its producer's alternative decides where it lies, and each
consumer's one where it is used. The total is a sum of terms of single nodes and of wires.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from planner.models.operator_graph.types import OperatorGraph
from planner.solvers.sharding.hardware import MeshHardware
from planner.solvers.sharding.placement import Code, Floats, Ints
from planner.solvers.sharding.strategies import Strategy

NodeKind = Literal["operator", "leaf", "output"]

UseClass = tuple[Code, Code | None]
"""Where consumers use a value, and where they yield its gradient; those with the same share one transition."""


@dataclass(frozen=True, eq=False)
class Node:
    """One choice.

    Args:
        name: of the operator, value or output that stands for all copies.
        kind: what it is.
        members: all copies.
        strategies: alternatives of an operator, else ().
        placements: alternatives of a stored tensor or output, else ().
        seconds: (alternatives,) of all copies: kernels, sums inside of operators, the optimizer's update.
        bytes: (alternatives,) of all copies on one rank: parameters with gradients and optimizer state.
    """

    name: str
    kind: NodeKind
    members: tuple[str, ...]
    strategies: tuple[Strategy, ...]
    placements: tuple[Code, ...]
    seconds: Floats
    bytes: Floats

    def __len__(self) -> int:
        return len(self.seconds)


@dataclass(frozen=True, eq=False)
class Use:
    """One input of a consumer.

    Args:
        node: the consumer.
        classes: (alternatives of the consumer,): index of the wire's class.
        saved: backward needs the value there.
    """

    node: int
    classes: Ints
    saved: bool


@dataclass(frozen=True, eq=False)
class Wire:
    """A value, with the values of other copies that run between the same nodes.

    Args:
        name: of the value. members: all copies.
        producer: node that writes or stores it.
        placed: (alternatives of the producer,): index of the source placement.
        sources: distinct placements in which it may be made.
        classes: distinct ways to use it.
        uses: its consumers.
        forward, backward: (sources, classes): seconds of all copies; infinite where there is no route.
        saved_by_producer: backward of its producer needs it.
        stored: a parameter: kept anyway.
        bytes: of all copies, whole.
    """

    name: str
    members: tuple[str, ...]
    producer: int
    placed: Ints
    sources: tuple[Code, ...]
    classes: tuple[UseClass, ...]
    uses: tuple[Use, ...]
    forward: Floats
    backward: Floats
    saved_by_producer: bool
    stored: bool
    bytes: float

    @cached_property
    def seconds(self) -> Floats:
        """(sources, classes): both passes."""
        return self.forward + self.backward

    @property
    def nodes(self) -> Iterator[int]:
        """Everyone whose choice it depends on."""
        yield self.producer
        yield from (use.node for use in self.uses)

    def used(self, choice: Sequence[int]) -> dict[int, None]:
        """Distinct classes that occur under a choice of every node."""
        return dict.fromkeys(int(use.classes[choice[use.node]]) for use in self.uses)

    def cost(self, choice: Sequence[int]) -> float:
        """Seconds of its transitions under a choice of every node."""
        row = self.seconds[self.placed[choice[self.producer]]]
        return float(sum(row[number] for number in self.used(choice)))

    def saved(self, choice: Sequence[int]) -> set[Code]:
        """Placements in which it is kept for backward, apart from a stored one."""
        source = self.sources[self.placed[choice[self.producer]]]
        kept = {self.classes[use.classes[choice[use.node]]][0] for use in self.uses if use.saved}
        if self.saved_by_producer:
            kept.add(source)
        return kept - {source} if self.stored else kept


@dataclass(frozen=True, eq=False)
class Problem:
    """Nodes in an order in which producers come before consumers (stored tensors first, outputs last), and wires.

    Args:
        outputs: per output of the graph, the node that says where it is wanted: its own, or the input in whose place a
            next block reads it.
        training: backward passes and gradients count.
    """

    graph: OperatorGraph
    hardware: MeshHardware
    nodes: tuple[Node, ...]
    wires: tuple[Wire, ...]
    outputs: tuple[int, ...]
    training: bool

    @cached_property
    def places(self) -> dict[tuple[NodeKind, str], int]:
        """Kind and name of an operator, stored value or output (``output 0``), of any copy -> node."""
        return {
            (node.kind, member): number for number, node in enumerate(self.nodes) for member in node.members
        }

    @cached_property
    def adjacent(self) -> tuple[tuple[Wire, ...], ...]:
        """Per node, the wires that its choice touches."""
        found: list[dict[int, Wire]] = [{} for _ in self.nodes]
        for number, wire in enumerate(self.wires):
            for node in wire.nodes:
                found[node][number] = wire
        return tuple(tuple(wires.values()) for wires in found)

    def seconds(self, choice: Sequence[int]) -> float:
        """Time of one step under a choice of every node: everything one after the other."""
        own = sum(float(node.seconds[at]) for node, at in zip(self.nodes, choice, strict=True))
        return own + sum(wire.cost(choice) for wire in self.wires)

    def bytes(self, choice: Sequence[int]) -> float:
        """Memory of one rank: states of parameters, and what backward needs, all kept at the same time."""
        total = sum(float(node.bytes[at]) for node, at in zip(self.nodes, choice, strict=True))
        if not self.training:
            return total
        mesh = self.hardware.mesh
        return total + sum(
            wire.bytes / mesh.shards(code) for wire in self.wires for code in wire.saved(choice)
        )

    def most_bytes(self) -> float:
        """No choice needs more memory than this: everything whole, in every placement in which it may be kept."""
        states = sum(float(node.bytes.max()) for node in self.nodes)
        kept = (
            wire.bytes * (wire.saved_by_producer + sum(use.saved for use in wire.uses)) for wire in self.wires
        )
        return states + (sum(kept) if self.training else 0.0)

    def alternatives(self, choice: Sequence[int], node: int) -> Floats:
        """(alternatives of the node,): seconds that depend on it, the choices of all others kept."""
        trial = list(choice)
        total = self.nodes[node].seconds.copy()
        for at in range(len(total)):
            trial[node] = at
            total[at] += sum(wire.cost(trial) for wire in self.adjacent[node])
        return total
