"""A plan in the words of PyTorch's ``parallelize_module``, as far as they go.

``ColwiseParallel`` splits a linear layer's weight along its output (DTensor ``Shard(0)``), ``RowwiseParallel`` along its input
(``Shard(1)``) or an embedding's table along its rows; ``SequenceParallel`` runs a norm on a split of the sequence
(https://docs.pytorch.org/docs/stable/distributed.tensor.parallel.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from planner.models.operator_graph.types import GraphOperator, OperatorGraph
from planner.solvers.sharding.plan import OUTPUT, Choice, PlacedStep, ShardingPlan, Transition

Style = Literal["ColwiseParallel", "RowwiseParallel", "SequenceParallel"]


@dataclass(frozen=True)
class ModuleStyle:
    """A style for one module on one mesh dimension.

    Args:
        inputs, outputs: where its input is wanted and its output left on that mesh dimension, ``R`` or ``S1``.
    """

    module: str
    mesh_dim: int
    style: Style
    inputs: str
    outputs: str


@dataclass(frozen=True)
class Styles:
    """What of a plan the styles say.

    Args:
        modules: styles in the order of the graph.
        unsaid: what they do not say: empty where they and a split of the inputs say all.
    """

    modules: tuple[ModuleStyle, ...]
    unsaid: tuple[str, ...]


def parallel_styles(graph: OperatorGraph, plan: ShardingPlan) -> Styles:
    """Styles of the modules with weights, and the collectives that no style would cause.

    Sums of gradients of whole parameters need no style: DTensor and data parallelism make them.
    """
    reader = _Reader(graph, plan)
    styles = tuple(reader.styles())
    return Styles(styles, tuple(reader.unsaid(styles)))


class _Reader:
    def __init__(self, graph: OperatorGraph, plan: ShardingPlan) -> None:
        self.graph = graph
        self.plan = plan
        self.operators = {operator.name: operator for operator in graph.operators}
        self.choices: Mapping[str, Choice] = {choice.operator: choice for choice in plan.choices}
        self.arrivals = {use: each for each in plan.transitions for use in each.consumers}

    def styles(self) -> Iterator[ModuleStyle]:
        for operator in self.graph.operators:
            for mesh_dim in range(len(self.plan.mesh)):
                style = self._style(operator, mesh_dim)
                if style is not None:
                    inputs = self.choices[operator.name].inputs[_data(operator)][mesh_dim]
                    yield ModuleStyle(
                        operator.module, mesh_dim, style, inputs, self._left(operator, mesh_dim)
                    )

    def _style(self, operator: GraphOperator, mesh_dim: int) -> Style | None:
        """The style that a module's own operator has, None where it is whole or follows its input."""
        split = self.choices[operator.name].split[mesh_dim]
        weighted = any(self.graph.values[name].kind == "parameter" for name in operator.inputs)
        if not operator.module or not weighted or self._cut(operator):
            return None
        if operator.target == "aten.linear":
            return {"out": "ColwiseParallel", "in": "RowwiseParallel"}.get(str(split))  # type: ignore[return-value]
        if operator.kind == "embedding":
            return {"hidden": "ColwiseParallel", "vocabulary": "RowwiseParallel"}.get(str(split))  # type: ignore[return-value]
        return "SequenceParallel" if operator.kind == "norm" and split == "d1" else None

    def _cut(self, operator: GraphOperator) -> bool:
        """Part of a fused weight: one module, but several splits."""
        return any(self.graph.values[name].part_of for name in operator.inputs)

    def _left(self, operator: GraphOperator, mesh_dim: int) -> str:
        """Where the module's output lies after the sums that its style makes."""
        value = operator.outputs[0]
        readers = self.graph.consumers[value]
        if len(readers) == 1 and readers[0][0].module == operator.module:  # its bias
            return self._left(readers[0][0], mesh_dim)
        uses = {each.use[mesh_dim] for each in self.plan.transitions if each.value == value}
        return uses.pop() if len(uses) == 1 else self.choices[operator.name].outputs[0][mesh_dim]

    def unsaid(self, styles: tuple[ModuleStyle, ...]) -> Iterator[str]:
        styled = {(style.module, style.mesh_dim) for style in styles}
        products = [each for each in self.graph.operators if each.kind == "matmul" and self._cut(each)]
        split = [each for each in products if {"out", "in"}.intersection(self.choices[each.name].split)]
        for module in dict.fromkeys(operator.module for operator in split):
            yield f"{module}: each part of its fused weight is split by itself"
        for transition in self.plan.transitions:
            for step in (*transition.forward, *transition.backward):
                if step.collective is not None and not self._said(transition, step, styled):
                    yield f"{transition.value}: {step.collective} {step.before} -> {step.after} on mesh dimension {step.mesh_dim}"
        for inner in self.plan.inner:
            yield f"{inner.operator}: {inner.what} (torch.distributed.tensor.parallel.loss_parallel)"

    def _said(self, transition: Transition, step: PlacedStep, styled: set[tuple[str, int]]) -> bool:
        """Whether a style of the module before or after causes a step, or it sums a parameter's gradient or the result."""
        if all(name == OUTPUT for name, _ in transition.consumers):
            return True
        value = self.graph.values[transition.value]
        if value.kind == "parameter":
            return step.before == "P" and step in transition.backward
        maker = self.graph.producers.get(value.name)
        modules = [self.operators[name].module for name, _ in transition.consumers if name in self.operators]
        before = maker is not None and (maker.module, step.mesh_dim) in styled
        return before or (bool(modules) and all((module, step.mesh_dim) in styled for module in modules))


def _data(operator: GraphOperator) -> int:
    """Position of the input that is no weight: ids of a table, else the first."""
    return 1 if operator.kind == "embedding" else 0
