"""Choices by rules, without any search: data parallel, and the two rules of automatic tensor parallelism.

Redco (arXiv 2310.16355, section 3.1) splits fully connected layers along their output and their input in turn, and attention's
projections q, k, v along the output, o along the input. Here the turns follow the graph instead of names: a product whose
input arrives split along the contracted axis splits its weight along the input, any other along the output. Tables of
embeddings are split by rows. Everything else follows its inputs; convolutions and norms stay whole. A split along the
output that no product takes up, so that it would have to be gathered again, is not made (routers, heads without a loss,
fewer heads of keys than ranks).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from planner.models.operator_graph.types import Dims, GraphOperator
from planner.solvers.sharding.baselines import Choice
from planner.solvers.sharding.placement import REPLICATED, Code
from planner.solvers.sharding.plan import Split
from planner.solvers.sharding.problem import Node, Problem
from planner.solvers.sharding.strategies import leading

Role = Literal["data", "tensor"]
"""What a mesh dimension is for."""


def data_parallel(problem: Problem) -> Choice:
    """Inputs split along their first dimension over every mesh dimension, parameters whole on every rank."""
    roles: list[Role] = ["data" for _ in problem.hardware.mesh.dims]
    return by_rules(problem, roles)


def two_rules(problem: Problem) -> Choice:
    """Automatic tensor parallelism on the last mesh dimension, data parallel on the one before it."""
    roles: tuple[Role, Role] = ("data", "tensor")
    return by_rules(problem, roles[-len(problem.hardware.mesh.shape) :])


def by_rules(problem: Problem, roles: Sequence[Role]) -> Choice:
    """The choice that the rules make for these roles of the mesh dimensions."""
    refused: set[str] = set()
    while True:
        walk = _Walk(problem, tuple(roles), frozenset(refused))
        choice = walk.run()
        if walk.gathered <= refused:
            return choice
        refused |= walk.gathered


@dataclass
class _Walk:
    """One pass over the graph in the order in which it runs.

    Args:
        refused: operators that must not begin a split.
        states: value -> where it lies after sums of partial values.
        begun: value -> operators that began the splits along which it lies.
        gathered: operators whose split had to be gathered.
    """

    problem: Problem
    roles: tuple[Role, ...]
    refused: frozenset[str]
    states: dict[str, Code] = field(default_factory=dict)
    begun: dict[str, frozenset[str]] = field(default_factory=dict)
    gathered: set[str] = field(default_factory=set)

    def run(self) -> Choice:
        problem = self.problem
        chosen: dict[int, int] = {}
        for name in problem.graph.values:
            self.states[name] = self._arrival(name)
        for operator in problem.graph.operators:
            number = problem.places["operator", operator.name]
            node = problem.nodes[number]
            if number not in chosen:
                splits = {strategy.split: at for at, strategy in enumerate(node.strategies)}
                chosen[number] = splits[self._split(operator, splits)]
            self._advance(operator, node, chosen[number])
        for name in problem.graph.outputs:
            self.gathered |= self.begun.get(name, frozenset())
        every = range(len(problem.nodes))
        return tuple(chosen[at] if at in chosen else self._resting(at, chosen) for at in every)

    def _arrival(self, name: str) -> Code:
        """Inputs of the graph arrive split along dimension 0 where that is for data; everything else whole."""
        whole: Code = (REPLICATED,) * len(self.roles)
        number = self.problem.places.get(("leaf", name))
        if number is None or name not in self.problem.graph.inputs:
            return whole
        for count in range(len(self.roles), 0, -1):
            code = tuple(
                0 if role == "data" and place < count else REPLICATED for place, role in enumerate(self.roles)
            )
            if code in self.problem.nodes[number].placements:
                return code
        return whole

    def _split(self, operator: GraphOperator, legal: dict[tuple[Split, ...], int]) -> tuple[Split, ...]:
        split: tuple[Split, ...] = ()
        for dim, role in enumerate(self.roles):
            rest = (None,) * (len(self.roles) - dim - 1)
            wanted = self._followed(operator, dim)
            if not wanted and role == "tensor" and self._representative(operator) not in self.refused:
                wanted = self._started(operator)
            split += (next((axis for axis in wanted if (*split, axis, *rest) in legal), None),)
        return split

    def _followed(self, operator: GraphOperator, dim: int) -> list[str]:
        """Axes along which inputs lie split."""
        states = [self.states[name][dim] for name in operator.inputs]
        heads = [
            leading(dims, state)
            for dims, state in zip(operator.input_dims, states, strict=True)
            if state >= 0
        ]
        return [axis for axis in heads if axis is not None]

    def _started(self, operator: GraphOperator) -> list[str]:
        """Axes along which an operator with a parameter may begin a split."""
        values = self.problem.graph.values
        if operator.kind == "embedding":
            table, rows = (values[name].kind for name in operator.inputs[:2])
            if table != "parameter":
                return []
            # rows that every rank knows (positions) are no vocabulary: such tables serve heads, or stay whole
            axis = leading(operator.input_dims[0], 1 if rows == "constant" else 0)
            return [axis] if axis else []
        if operator.kind != "matmul" or not self._weighs(operator.inputs[1]):
            return []
        left, right = (_axes(dims) for dims in operator.input_dims[:2])
        return [axis for axis in _axes(operator.output_dims[0]) if axis in right and axis not in left]

    def _weighs(self, name: str) -> bool:
        """Whether a value is a parameter, or a view of one."""
        maker = self.problem.graph.producers.get(name)
        if maker is None:
            return self.problem.graph.values[name].kind == "parameter"
        return maker.kind == "view" and self._weighs(maker.inputs[0])

    def _advance(self, operator: GraphOperator, node: Node, at: int) -> None:
        """Where the outputs lie, and whose splits they carry; splits that are lost are noted."""
        strategy = node.strategies[at]
        tensor = [dim for dim, role in enumerate(self.roles) if role == "tensor"]
        carried: frozenset[str] = frozenset()
        for name, used in zip(operator.inputs, strategy.inputs, strict=True):
            for dim in tensor:
                if self.states[name][dim] >= 0:
                    if used[dim] == self.states[name][dim]:
                        carried |= self.begun.get(name, frozenset())
                    else:
                        self.gathered |= self.begun.get(name, frozenset())
        if any(isinstance(strategy.split[dim], str) for dim in tensor) and not carried:
            carried = frozenset({self._representative(operator)})
        for name, code in zip(operator.outputs, strategy.outputs, strict=True):
            self.states[name] = tuple(max(state, REPLICATED) for state in code)
            if any(code[dim] >= 0 for dim in tensor):
                self.begun[name] = carried

    def _representative(self, operator: GraphOperator) -> str:
        return self.problem.graph.representative(operator.name)

    def _resting(self, number: int, chosen: dict[int, int]) -> int:
        """An input lies as it arrives, another stored tensor where its first consumer uses it; an output is whole."""
        node = self.problem.nodes[number]
        if node.name in self.problem.graph.inputs:
            return node.placements.index(self.states[node.name])
        for wire in self.problem.adjacent[number]:
            for use in wire.uses:
                if wire.producer == number and use.node in chosen:
                    return node.placements.index(wire.classes[use.classes[chosen[use.node]]][0])
        return 0


def _axes(dims: Dims) -> list[str]:
    return [axis for dim in dims for axis in dim]
