"""Every combination of alternatives of a small graph, priced by code that shares nothing with the solver's but kernels.

Placements are worked out per mesh dimension from the axes, routes by Dijkstra's algorithm over single steps, and the sum
over all combinations is built by broadcasting tables of few operators each to one array.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from planner.costs.collectives import Group
from planner.costs.kernels import memory_bound_seconds
from planner.hardware.types import Cluster
from planner.models.operator_graph.types import GraphOperator, OperatorGraph, Value
from planner.solvers.sharding.kernels import operator_seconds, update_seconds
from planner.solvers.sharding.placement import DeviceMesh
from planner.solvers.sharding.strategies import Strategy
from tests.solvers.sharding.graphs import width

State = str
"""``R``, ``P``, or ``S0`` ... per mesh dimension."""


@dataclass(frozen=True)
class Way:
    """One alternative of an operator: placements of inputs, of their gradients and of outputs."""

    split: tuple[object, ...]
    reads: tuple[tuple[State, ...], ...]
    sends: tuple[tuple[State, ...], ...]
    writes: tuple[tuple[State, ...], ...]


def ways(operator: GraphOperator, graph: OperatorGraph, mesh: tuple[int, ...]) -> list[Way]:
    """All alternatives, from the definition: each mesh dimension splits an axis, passes partial sums, or nothing."""
    passed = [
        number
        for number, places in enumerate(operator.partial)
        if any(operator.inputs[place] in graph.producers for place in places)
    ]
    axes = [axis for axis, length in operator.axes.items() if axis not in operator.whole and length > 1]
    found = []
    for split in itertools.product([None, *axes, *passed], repeat=len(mesh)):
        parts: dict[object, int] = {}
        for item, size in zip(split, mesh, strict=True):
            parts[item] = parts.get(item, 1) * size
        if all(operator.axes[axis] % parts.get(axis, 1) == 0 for axis in axes):
            columns = [states(operator, item) for item in split]
            reads, sends, writes = (
                tuple(
                    tuple(column[part][place] for column in columns) for place in range(len(columns[0][part]))
                )
                for part in range(3)
            )
            found.append(Way(split, reads, sends, writes))
    return found


def states(operator: GraphOperator, item: object) -> tuple[list[State], list[State], list[State]]:
    """What one mesh dimension does to inputs, gradients of inputs, and outputs."""
    reads, sends = [], []
    for place, dims in enumerate(operator.input_dims):
        at = next((f"S{number}" for number, axes in enumerate(dims) if axes == (item,)), None)
        if isinstance(item, int):
            inside = place in operator.partial[item]
            reads.append("P" if inside else "R")
            sends.append("R" if inside else "P")
        else:
            reads.append(at or "R")
            sends.append(at or ("R" if item is None else "P"))
    writes = []
    for dims in operator.output_dims:
        at = next((f"S{number}" for number, axes in enumerate(dims) if axes == (item,)), None)
        summed = item is not None and item not in operator.inner_sums
        writes.append(at or ("P" if summed else "R"))
    return reads, sends, writes


@dataclass
class Prices:
    """Seconds of reshardings on the innermost devices of a cluster."""

    cluster: Cluster
    mesh: tuple[int, ...]
    known: dict[object, float] = field(default_factory=dict)

    def route(self, value: Value, source: tuple[State, ...], target: tuple[State, ...]) -> float:
        """Cheapest way by steps on one mesh dimension each; infinite where there is none."""
        key = value.shape, value.dtype, source, target
        if key not in self.known:
            self.known[key] = self._dijkstra(value, source, target)
        return self.known[key]

    def _dijkstra(self, value: Value, source: tuple[State, ...], target: tuple[State, ...]) -> float:
        """Over placements and the mesh dimension that moved last."""
        heap, done = [(0.0, source, -1)], set()
        while heap:
            cost, at, last = heapq.heappop(heap)
            if at == target:
                return cost
            if (at, last) in done:
                continue
            done.add((at, last))
            for dim in range(len(at)):
                for state in self._next(value, source, target, at, dim, last):
                    after = (*at[:dim], state, *at[dim + 1 :])
                    if self._possible(value, at, after, dim):
                        heapq.heappush(heap, (cost + self._step(value, at, after, dim), after, dim))
        return math.inf

    def _next(
        self,
        value: Value,
        source: tuple[State, ...],
        target: tuple[State, ...],
        at: tuple[State, ...],
        dim: int,
        last: int,
    ) -> set[State]:
        """States that a mesh dimension may take now: its target, replicated, or split to sum in parts what all want."""
        here, start, end = at[dim], source[dim], target[dim]
        summed = start == "P" and end == "R"
        if here == end:
            return {"R"} - {end} if start == end else set()
        if here == "R" and start != "R":
            return {end}
        if summed and here.startswith("S"):
            return {"R"} if last not in (dim, -1) else set()
        around = len(at) == 2 and at[1 - dim] == source[1 - dim] != target[1 - dim]
        parts = {f"S{number}" for number in range(len(value.shape))} if summed and around else set()
        return {"R", end, *parts} - {here}

    def _possible(self, value: Value, before: tuple[State, ...], after: tuple[State, ...], dim: int) -> bool:
        """An outer dimension may not touch a split inside which an inner one splits the same dimension."""
        inner = before[dim + 1 :]
        touched = {state for state in (before[dim], after[dim]) if state.startswith("S")}
        if touched & set(inner):
            return False
        parts = math.prod(size for size, state in zip(self.mesh, after, strict=True) if state == after[dim])
        return not after[dim].startswith("S") or value.shape[int(after[dim][1:])] % parts == 0

    def _step(self, value: Value, before: tuple[State, ...], after: tuple[State, ...], dim: int) -> float:
        sizes = [value.elements * width(value) / self.cut(code) for code in (before, after)]
        kinds = before[dim][0] + after[dim][0]
        name = {"SR": "all_gather", "PR": "all_reduce", "PS": "reduce_scatter", "SS": "all_to_all"}.get(kinds)
        if name is None:
            others = [*before[:dim], "R", *before[dim + 1 :]]
            fill = np.array([value.elements * width(value) / self.cut(tuple(others))])
            return (
                float(memory_bound_seconds(fill, self.cluster.accelerator)[0]) if after[dim] == "P" else 0.0
            )
        stride = math.prod(self.mesh[dim + 1 :])
        return self.call(name, dim, stride, max(sizes), width(value))

    def call(self, name: str, dim: int, stride: int, nbytes: float, dtype_bytes: int) -> float:
        group = Group(self.cluster, self.mesh[dim], stride)
        return group.table(name, [nbytes], dtype_bytes=dtype_bytes)[0].seconds  # type: ignore[arg-type]

    def cut(self, code: tuple[State, ...]) -> int:
        return math.prod(size for size, state in zip(self.mesh, code, strict=True) if state.startswith("S"))


@dataclass
class BruteForce:
    """All combinations of one graph.

    Args:
        leaves: also count combinations of placements of stored tensors (needed where memory is limited), instead of taking
            for each combination of their readers the fastest.
    """

    graph: OperatorGraph
    cluster: Cluster
    mesh: tuple[int, ...]
    leaves: bool = False

    def __post_init__(self) -> None:
        self.prices = Prices(self.cluster, self.mesh)
        self.ways = {item.name: ways(item, self.graph, self.mesh) for item in self.graph.operators}
        self.stored = {
            name: list(self._storages(value))
            for name, value in self.graph.values.items()
            if name not in self.graph.producers
        }
        names = [item.name for item in self.graph.operators]
        self.order = [*names, *(self.stored if self.leaves else ())]
        self.shape = tuple(len(self.ways.get(name) or self.stored[name]) for name in self.order)

    def _storages(self, value: Value) -> Iterator[tuple[State, ...]]:
        for code in itertools.product(
            ["R", *(f"S{dim}" for dim in range(len(value.shape)))], repeat=len(self.mesh)
        ):
            parts = [
                math.prod(size for size, state in zip(self.mesh, code, strict=True) if state == f"S{dim}")
                for dim in range(len(value.shape))
            ]
            if all(length % count == 0 for length, count in zip(value.shape, parts, strict=True)):
                yield code

    def seconds(self) -> np.ndarray:
        """One entry per combination."""
        total = np.zeros(self.shape)
        mesh = DeviceMesh(self.mesh)
        for item in self.graph.operators:
            found = [Strategy(way.split, (), (), ()) for way in self.ways[item.name]]  # type: ignore[arg-type]
            own = operator_seconds(item, self.graph, found, mesh, self.cluster.accelerator, training=True)
            own = own + np.array([self._inner(item, way) for way in self.ways[item.name]])
            total = total + self._spread(own, [item.name])
        for name in self.graph.values:
            table, nodes = self._value(name)
            total = total + self._spread(table, nodes)
        return total

    def _inner(self, item: GraphOperator, way: Way) -> float:
        """Sums inside of a split operator, each over one number per row of the buffer."""
        total = 0.0
        for dim, axis in enumerate(way.split):
            for inner in item.inner_sums.get(axis, ()) if isinstance(axis, str) else ():
                rows = math.prod(item.axes[name] for name in inner.axes)
                rows //= math.prod(
                    size for size, other in zip(self.mesh, way.split, strict=True) if other in inner.axes
                )
                stride = math.prod(self.mesh[dim + 1 :])
                total += self.prices.call("all_reduce", dim, stride, 4.0 * rows, 4)
        return total

    def _value(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Seconds to move one value, over the alternatives of its producer and readers."""
        value = self.graph.values[name]
        readers = list(dict.fromkeys(item.name for item, _ in self.graph.consumers[name]))
        maker = self.graph.producers.get(name)
        nodes = ([maker.name] if maker else []) + readers
        if maker is None:
            nodes = [*([name] if self.leaves else []), *readers]
        table = np.zeros([len(self.ways.get(node) or self.stored[node]) for node in nodes])
        for at in np.ndindex(*table.shape):
            chosen = dict(zip(nodes, at, strict=True))
            uses = {
                (way.reads[place], way.sends[place] if value.gradient else None)
                for item, place in self.graph.consumers[name]
                for way in [self.ways[item.name][chosen[item.name]]]
            }
            if name in self.graph.outputs:
                whole = ("R",) * len(self.mesh)
                uses.add((whole, whole if value.gradient else None))
            if maker is not None:
                place = maker.outputs.index(name)
                sources = [self.ways[maker.name][chosen[maker.name]].writes[place]]
            else:
                sources = [self.stored[name][chosen[name]]] if self.leaves else self.stored[name]
            table[at] = min(self._moved(value, source, uses) for source in sources)
        return table, nodes

    def _moved(
        self, value: Value, source: tuple[State, ...], uses: set[tuple[tuple[State, ...], object]]
    ) -> float:
        wanted = tuple("R" if state == "P" else state for state in source)
        total = 0.0
        if value.kind == "parameter":
            local = np.array([value.elements / self.prices.cut(source)])
            total = float(update_seconds(local, self.cluster.accelerator)[0])
        for use, gradient in uses:
            total += self.prices.route(value, source, use)
            if gradient is not None:
                total += self.prices.route(value, gradient, wanted)  # type: ignore[arg-type]
        return total

    def bytes(self) -> np.ndarray:
        """Memory of one rank for every combination: states of parameters, and what backward needs."""
        total = np.zeros(self.shape)
        for name, value in self.graph.values.items():
            if value.kind == "parameter":
                sizes = [value.elements / self.prices.cut(code) for code in self.stored[name]]
                total = total + self._spread(np.array(sizes) * (2 * width(value) + 8 + 4), [name])
            table, nodes = self._kept(name)
            total = total + self._spread(table, nodes)
        return total

    def _kept(self, name: str) -> tuple[np.ndarray, list[str]]:
        value = self.graph.values[name]
        savers = [(item.name, place) for item, place in self.graph.consumers[name] if name in item.saves]
        maker = self.graph.producers.get(name)
        home = maker.name if maker else name
        nodes = list(dict.fromkeys([home, *(saver for saver, _ in savers)]))
        table = np.zeros([len(self.ways.get(node) or self.stored[node]) for node in nodes])
        for at in np.ndindex(*table.shape):
            chosen = dict(zip(nodes, at, strict=True))
            kept = {self.ways[saver][chosen[saver]].reads[place] for saver, place in savers}
            if value.kind == "parameter":
                kept -= {self.stored[name][chosen[name]]}
            table[at] = sum(value.elements * width(value) / self.prices.cut(code) for code in kept)
        return table, nodes

    def _spread(self, table: np.ndarray, nodes: list[str]) -> np.ndarray:
        """A table over some nodes, in the axes of all."""
        places = [self.order.index(node) for node in nodes]
        table = np.transpose(table, np.argsort(places))
        shape = [1] * len(self.order)
        for place in places:
            shape[place] = self.shape[place]
        return table.reshape(shape)
