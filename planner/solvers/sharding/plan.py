"""A chosen sharding as plain data: what lies where, and everything that is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from planner.costs.collectives import Collective
from planner.solvers.sharding.placement import Placements

Pass = Literal["forward", "backward"]

Split = str | int | None
"""What an operator does on one mesh dimension: split that axis, pass partial sums by that alternative of
``GraphOperator.partial``, or work on whole tensors (None)."""

OUTPUT = "output"
"""Stands for an operator among the consumers of a value that leaves the graph; its position is that of the output."""


@dataclass(frozen=True)
class PlacedStep:
    """One change of placement on one mesh dimension.

    Args:
        mesh_dim: that changes.
        before, after: states on it (``S1``, ``R``, ``P``).
        collective: None where nothing is sent (a slice, or zeros on all ranks but the first).
        bytes: the larger of one rank's buffers before and after; 0 without collective.
        seconds: predicted, one call.
    """

    mesh_dim: int
    before: str
    after: str
    collective: Collective | None
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Choice:
    """How one operator is split.

    Args:
        split: per mesh dimension.
        inputs, outputs: placements in the operator's order.
    """

    operator: str
    split: tuple[Split, ...]
    inputs: tuple[Placements, ...]
    outputs: tuple[Placements, ...]


@dataclass(frozen=True)
class Transition:
    """A value goes from where it was made to where consumers use it, and its gradient comes back.

    Consumers with the same use share it: one conversion forward; backward their gradients are added, then converted once.

    Args:
        source, use: placements.
        gradient: placement in which the consumers yield the gradient; None where none is computed.
        consumers: operator and position among its inputs.
        forward, backward: in order; they may be empty.
    """

    value: str
    source: Placements
    use: Placements
    gradient: Placements | None
    consumers: tuple[tuple[str, int], ...]
    forward: tuple[PlacedStep, ...]
    backward: tuple[PlacedStep, ...]


@dataclass(frozen=True)
class InnerExchange:
    """An all-reduce inside of an operator."""

    operator: str
    what: str
    mesh_dim: int
    bytes: int
    in_pass: Pass
    seconds: float


@dataclass(frozen=True)
class Sent:
    """One collective call of a plan, for lists and counts: who sends what, and which operators wait for it."""

    what: str
    collective: Collective
    mesh_dim: int
    bytes: int
    in_pass: Pass
    seconds: float
    before: str
    after: str
    consumers: tuple[str, ...]


@dataclass(frozen=True)
class ShardingPlan:
    """One way to run the graph on the mesh.

    Args:
        stored: parameter, input or constant -> placement in which it lies.
        choices: per operator, in the graph's order.
        transitions: of every value that somebody uses.
        inner: all-reduces inside of operators.
        training: whether backward and gradients are counted.
    """

    graph: str
    mesh: tuple[int, ...]
    stored: Mapping[str, Placements]
    choices: tuple[Choice, ...]
    transitions: tuple[Transition, ...]
    inner: tuple[InnerExchange, ...]
    training: bool

    def sent(self) -> Iterator[Sent]:
        """Every collective call: forward passes first."""
        passes: tuple[Pass, Pass] = ("forward", "backward")
        for in_pass in passes:
            for transition in self.transitions:
                steps = transition.forward if in_pass == "forward" else transition.backward
                consumers = tuple(name for name, _ in transition.consumers)
                for step in steps:
                    if step.collective is not None:
                        yield Sent(
                            transition.value, step.collective, step.mesh_dim, step.bytes, in_pass, step.seconds,
                            step.before, step.after, consumers,
                        )  # fmt: skip
            for item in self.inner:
                if item.in_pass == in_pass:
                    yield Sent(
                        f"{item.operator}: {item.what}", "all_reduce", item.mesh_dim, item.bytes, in_pass,
                        item.seconds, "P", "R", (item.operator,),
                    )  # fmt: skip
