"""Makes the problem of a graph on a mesh: alternatives, prices, wires; copies of repeated blocks folded together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from planner.models.operator_graph.types import DTYPE_BYTES, GraphOperator, OperatorGraph, Value
from planner.solvers.sharding.hardware import MeshHardware
from planner.solvers.sharding.kernels import operator_seconds, update_seconds
from planner.solvers.sharding.placement import REPLICATED, Code, Floats, Ints, dual, storage_codes
from planner.solvers.sharding.plan import OUTPUT
from planner.solvers.sharding.problem import Node, Problem, Use, UseClass, Wire
from planner.solvers.sharding.routes import Routes
from planner.solvers.sharding.strategies import (
    Strategy,
    local_axes,
    local_elements,
    sends_gradient,
    strategies,
)

MASTER_BYTES, MOMENT_BYTES = 4, 8
"""Per parameter: Adam's two moments in fp32, and a copy in fp32 where the parameter has fewer bytes."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class InnerCall:
    """What an operator sums inside: a word, the pass, bytes of one rank's buffer."""

    what: str
    backward: bool
    bytes: int


def make_problem(
    graph: OperatorGraph, hardware: MeshHardware, *, training: bool = True, block: bool = False
) -> Problem:
    """The choice of shardings for a graph.

    Args:
        graph: operators over named axes.
        hardware: the mesh on its devices.
        training: count backward passes, gradients, the optimizer and saved activations.
        block: the graph is one of many equal blocks: an output lies as the input of its shape does, in any placement;
            otherwise outputs are wanted whole on every rank.
    """
    return _Builder(graph, hardware, training, block).problem()


@dataclass
class _Builder:
    graph: OperatorGraph
    hardware: MeshHardware
    training: bool
    block: bool

    @cached_property
    def operators(self) -> dict[str, GraphOperator]:
        """By name."""
        return {item.name: item for item in self.graph.operators}

    def problem(self) -> Problem:
        readers = self._readers()
        leaves = self._leaves(readers)
        nodes = [self._leaf(members) for members in leaves]
        stored = {member: number for number, members in enumerate(leaves) for member in members}
        place: dict[str, int] = {}
        operators = _grouped(self.graph.operators, lambda item: self.graph.representative(item.name))
        for copies in operators:
            place |= {copy.name: len(nodes) for copy in copies}
            nodes.append(self._operator(copies))
        outputs: list[int] = []
        for number, name in enumerate(self.graph.outputs):
            twin = self._twin(name, number) if self.block else None
            if twin is not None:
                outputs.append(stored[twin])
                continue
            outputs.append(len(nodes))
            nodes.append(self._output(name, number))
        wires = self._wires(nodes, stored, place, outputs)
        return Problem(self.graph, self.hardware, tuple(nodes), tuple(wires), tuple(outputs), self.training)

    def _readers(self) -> dict[str, frozenset[tuple[str, int]]]:
        """Value -> representative consumers and positions."""
        return {
            name: frozenset((self.graph.representative(user.name), position) for user, position in users)
            for name, users in self.graph.consumers.items()
        }

    def _leaves(self, readers: dict[str, frozenset[tuple[str, int]]]) -> list[list[str]]:
        """Stored values that somebody reads, those of all copies of a block together."""
        produced = self.graph.producers
        wanted = set(self.graph.outputs)
        names = [
            name for name in self.graph.values if name not in produced and (readers[name] or name in wanted)
        ]
        values = self.graph.values
        return _grouped(
            names,
            lambda name: (
                (values[name].kind, values[name].shape, values[name].dtype, readers[name], name in wanted)
                if readers[name] and values[name].kind == "parameter"
                else name
            ),
        )

    def _leaf(self, members: list[str]) -> Node:
        value = self.graph.values[members[0]]
        codes = storage_codes(value.shape, self.hardware.mesh)
        local = np.array([value.elements / self.hardware.mesh.shards(code) for code in codes])
        seconds, held = np.zeros(len(codes)), np.zeros(len(codes))
        if value.kind == "parameter":
            width = DTYPE_BYTES[value.dtype]
            held = local * width
            if self.training and value.gradient:
                held = local * (2 * width + MOMENT_BYTES + (MASTER_BYTES if width < MASTER_BYTES else 0))
                seconds = update_seconds(local, self.hardware.cluster.accelerator)
        return Node(
            members[0], "leaf", tuple(members), (), codes, len(members) * seconds, len(members) * held
        )

    def _operator(self, copies: list[GraphOperator]) -> Node:
        operator = copies[0]
        found = strategies(operator, self.graph, self.hardware.mesh)
        seconds = operator_seconds(
            operator,
            self.graph,
            found,
            self.hardware.mesh,
            self.hardware.cluster.accelerator,
            training=self.training,
        )
        seconds = seconds + np.array([self._inner(operator, strategy) for strategy in found])
        names = tuple(copy.name for copy in copies)
        return Node(operator.name, "operator", names, found, (), len(copies) * seconds, np.zeros(len(found)))

    def _inner(self, operator: GraphOperator, strategy: Strategy) -> float:
        return sum(
            seconds
            for _, what, seconds in inner_exchanges(operator, strategy, self.hardware)
            if self.training or not what.backward
        )

    def _output(self, name: str, number: int) -> Node:
        whole: Code = (REPLICATED,) * len(self.hardware.mesh.shape)
        shape = self.graph.values[name].shape
        codes = storage_codes(shape, self.hardware.mesh) if self.block else (whole,)
        label = f"{OUTPUT} {number}"
        zeros = np.zeros(len(codes))
        return Node(label, "output", (label,), (), codes, zeros, zeros)

    def _twin(self, name: str, number: int) -> str | None:
        """The input in whose place a later block would read this output."""
        values = self.graph.values

        def kin(other: Value) -> bool:
            return (other.shape, other.dtype) == (values[name].shape, values[name].dtype)

        before = sum(kin(values[other]) for other in self.graph.outputs[:number])
        twins = [other for other in self.graph.inputs if kin(values[other])]
        return twins[before] if before < len(twins) else None

    def _wires(
        self, nodes: list[Node], stored: dict[str, int], place: dict[str, int], outputs: list[int]
    ) -> list[Wire]:
        """One per distinct (producer, consumers); values of copies that run between the same nodes count together."""
        ends: dict[str, list[tuple[int, int | None, bool]]] = defaultdict(list)
        for operator in self.graph.operators:
            for position, name in enumerate(operator.inputs):
                ends[name].append((place[operator.name], position, name in operator.saves))
        for number, name in enumerate(self.graph.outputs):
            ends[name].append((outputs[number], None, False))
        made = {name: (number, 0, False) for name, number in stored.items()} | {
            name: (place[operator.name], position, name in operator.saves)
            for operator in self.graph.operators
            for position, name in enumerate(operator.outputs)
        }
        groups = _grouped(list(ends), lambda name: (made[name], frozenset(ends[name])))
        routes: dict[tuple[tuple[int, ...], int], Routes] = {}
        wires = []
        for members in groups:
            value = self.graph.values[members[0]]
            key = (value.shape, DTYPE_BYTES[value.dtype])
            if key not in routes:
                routes[key] = self.hardware.routes(*key)
            producer, output, saved = made[members[0]]
            users = sorted(
                dict.fromkeys(ends[members[0]]), key=lambda end: (end[0], end[1] is None, end[1] or 0)
            )
            wires.append(self._wire(members, nodes, (producer, output, saved), users, routes[key]))
        return wires

    def _wire(
        self,
        members: list[str],
        nodes: list[Node],
        made: tuple[int, int, bool],
        users: list[tuple[int, int | None, bool]],
        routes: Routes,
    ) -> Wire:
        value = self.graph.values[members[0]]
        producer, output, saved = made
        maker = nodes[producer]
        sources, placed = _distinct(
            list(maker.placements) if maker.kind == "leaf" else [s.outputs[output] for s in maker.strategies]
        )
        found = [self._classes(nodes[node], position, value) for node, position, _ in users]
        classes, flat = _distinct([item for items in found for item in items])
        starts = np.cumsum([0, *(len(items) for items in found)])
        uses = tuple(
            Use(node, flat[start:stop], keeps)
            for (node, _, keeps), start, stop in zip(users, starts[:-1], starts[1:], strict=True)
        )
        ahead, back = _transition_seconds(routes, sources, classes)
        return Wire(
            members[0], tuple(members), producer, placed, tuple(sources), tuple(classes), uses,
            len(members) * ahead, len(members) * back, saved, value.kind == "parameter",
            float(len(members) * value.bytes),
        )  # fmt: skip

    def _classes(self, node: Node, position: int | None, value: Value) -> list[UseClass]:
        """How each alternative of a consumer uses the value."""
        if position is None:
            graded = self.training and value.gradient
            return [(code, code if graded else None) for code in node.placements]
        graded = self.training and sends_gradient(self.operators[node.name], value.name, self.graph)
        return [
            (strategy.inputs[position], strategy.gradients[position] if graded else None)
            for strategy in node.strategies
        ]


def inner_exchanges(
    operator: GraphOperator, strategy: Strategy, hardware: MeshHardware
) -> list[tuple[int, InnerCall, float]]:
    """All-reduces inside of an operator: mesh dimension, what, seconds."""
    lengths = local_axes(operator, strategy.split, hardware.mesh)
    found = []
    for dim, axis in enumerate(strategy.split):
        sums = isinstance(axis, str) and hardware.mesh.shape[dim] > 1
        for item in operator.inner_sums.get(str(axis), ()) if sums else ():
            width = DTYPE_BYTES[item.dtype]
            nbytes = int(local_elements((item.axes,), lengths)) * width
            seconds = hardware.collective_s("all_reduce", dim, np.array([float(nbytes)]), width)
            found.append((dim, InnerCall(item.what, item.backward, nbytes), float(seconds[0])))
    return found


def _transition_seconds(
    routes: Routes, sources: list[Code], classes: list[UseClass]
) -> tuple[Floats, Floats]:
    """(sources, classes): forward, and backward to the dual of the source (0 without gradient)."""
    ahead = routes.costs(sources, [use for use, _ in classes])
    wanted, place = _distinct([dual(code) for code in sources])
    back = np.zeros(ahead.shape)
    graded = [number for number, (_, gradient) in enumerate(classes) if gradient is not None]
    if graded:
        yielded = [gradient for _, gradient in classes if gradient is not None]
        back[:, graded] = routes.costs(yielded, wanted).T[place]
    return ahead, back


def _grouped(items: list[Item] | tuple[Item, ...], key: Callable[[Item], object]) -> list[list[Item]]:
    """Items of equal keys together, in order of appearance."""
    groups: dict[object, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _distinct(items: list[Item]) -> tuple[list[Item], Ints]:
    """Distinct items in order of appearance, and which of them each is."""
    places: dict[Item, int] = {}
    where = np.array([places.setdefault(item, len(places)) for item in items], dtype=np.int64)
    return list(places), where
