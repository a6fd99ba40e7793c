"""A traced graph: calls of ATen functions on named values, before anything is known of their axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from planner.models.operator_graph.types import Value


@dataclass(frozen=True)
class Ref:
    """Stands in a call's arguments for a value of the graph."""

    name: str


@dataclass(frozen=True)
class Node:
    """One call.

    Args:
        name: unique in the graph.
        target: ATen name without overload, ``aten.linear``.
        arguments, keywords: plain values, tuples of them, ``ElementType`` and ``Ref``.
        outputs: names of the values that it writes, in order.
        module: path of the module that made the call, "" if unknown.
    """

    name: str
    target: str
    arguments: tuple[object, ...]
    outputs: tuple[str, ...]
    keywords: Mapping[str, object] = field(default_factory=dict)
    module: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the values read, in order of the arguments."""
        return tuple(ref.name for ref in refs((*self.arguments, *self.keywords.values())))


@dataclass(frozen=True)
class TracedGraph:
    """Calls in an order in which they can run; see ``OperatorGraph`` for the other fields."""

    name: str
    values: Mapping[str, Value]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()


def refs(argument: object) -> Iterator[Ref]:
    """Every reference to a value in an argument, in order."""
    if isinstance(argument, Ref):
        yield argument
    elif isinstance(argument, tuple):
        for part in argument:
            yield from refs(part)


Kind = TypeVar("Kind")


def replace_parts(argument: object, kind: type[Kind], change: Callable[[Kind], object]) -> object:
    """An argument with every part of a kind (``Ref``, ``ElementType``) exchanged for what ``change`` gives, in order."""
    if isinstance(argument, kind):
        return change(argument)
    if isinstance(argument, tuple):
        return tuple(replace_parts(part, kind, change) for part in argument)
    return argument


def with_parts(node: Node, kind: type[Kind], change: Callable[[Kind], object]) -> Node:
    """A node with every part of a kind exchanged in all of its arguments."""
    arguments = tuple(replace_parts(argument, kind, change) for argument in node.arguments)
    keywords = {key: replace_parts(argument, kind, change) for key, argument in node.keywords.items()}
    return replace(node, arguments=arguments, keywords=keywords)
