"""The plan that a choice stands for: placements and transitions of every copy, in plain data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.models.operator_graph.types import DTYPE_BYTES
from planner.solvers.sharding.build import inner_exchanges
from planner.solvers.sharding.placement import Code, dual, placements
from planner.solvers.sharding.plan import (
    OUTPUT,
    Choice,
    InnerExchange,
    Pass,
    PlacedStep,
    ShardingPlan,
    Transition,
)
from planner.solvers.sharding.problem import Problem
from planner.solvers.sharding.routes import Routes, Step
from planner.solvers.sharding.strategies import Strategy, sends_gradient


def extract(problem: Problem, choice: Sequence[int]) -> ShardingPlan:
    """The plan of a choice of every node."""
    return _Extraction(problem, choice).plan()


class _Extraction:
    def __init__(self, problem: Problem, choice: Sequence[int]) -> None:
        self.problem = problem
        self.graph = problem.graph
        self.choice = choice
        self.routes: dict[tuple[tuple[int, ...], int], Routes] = {}

    def plan(self) -> ShardingPlan:
        problem, graph = self.problem, self.graph
        chosen = {operator.name: self._strategy(operator.name) for operator in graph.operators}
        stored = {
            member: self._placement(number)
            for number, node in enumerate(problem.nodes)
            if node.kind == "leaf"
            for member in node.members
        }
        sources = dict(stored)
        for operator in graph.operators:
            sources |= dict(zip(operator.outputs, chosen[operator.name].outputs, strict=True))
        choices = tuple(
            Choice(
                name,
                strategy.split,
                tuple(map(placements, strategy.inputs)),
                tuple(map(placements, strategy.outputs)),
            )
            for name, strategy in chosen.items()
        )
        return ShardingPlan(
            graph=graph.name,
            mesh=problem.hardware.mesh.shape,
            stored={name: placements(code) for name, code in stored.items()},
            choices=choices,
            transitions=tuple(self._transitions(chosen, sources)),
            inner=tuple(self._inner(chosen)),
            training=problem.training,
        )

    def _strategy(self, operator: str) -> Strategy:
        number = self.problem.places["operator", operator]
        return self.problem.nodes[number].strategies[self.choice[number]]

    def _placement(self, number: int) -> Code:
        return self.problem.nodes[number].placements[self.choice[number]]

    def _transitions(self, chosen: dict[str, Strategy], sources: dict[str, Code]) -> Iterator[Transition]:
        """One per value and distinct use, in the order in which values are made."""
        uses: dict[str, dict[tuple[Code, Code | None], list[tuple[str, int]]]] = {
            name: {} for name in sources
        }
        for operator in self.graph.operators:
            strategy = chosen[operator.name]
            for position, name in enumerate(operator.inputs):
                graded = self.problem.training and sends_gradient(operator, name, self.graph)
                gradient = strategy.gradients[position] if graded else None
                key = strategy.inputs[position], gradient
                uses[name].setdefault(key, []).append((operator.name, position))
        for number, name in enumerate(self.graph.outputs):
            use = self._placement(self.problem.outputs[number])
            graded = self.problem.training and self.graph.values[name].gradient
            uses[name].setdefault((use, use if graded else None), []).append((OUTPUT, number))
        for name, found in uses.items():
            routes = self._routes(name)
            for (use, gradient), consumers in found.items():
                ahead = routes.steps(sources[name], use)
                back = routes.steps(gradient, dual(sources[name])) if gradient is not None else ()
                yield Transition(
                    name, placements(sources[name]), placements(use), placements(gradient) if gradient else None,
                    tuple(consumers), _placed(ahead), _placed(back),
                )  # fmt: skip

    def _routes(self, name: str) -> Routes:
        value = self.graph.values[name]
        key = value.shape, DTYPE_BYTES[value.dtype]
        if key not in self.routes:
            self.routes[key] = self.problem.hardware.routes(*key)
        return self.routes[key]

    def _inner(self, chosen: dict[str, Strategy]) -> Iterator[InnerExchange]:
        for operator in self.graph.operators:
            for dim, call, seconds in inner_exchanges(operator, chosen[operator.name], self.problem.hardware):
                if self.problem.training or not call.backward:
                    in_pass: Pass = "backward" if call.backward else "forward"
                    yield InnerExchange(operator.name, call.what, dim, call.bytes, in_pass, seconds)


def _placed(steps: tuple[Step, ...]) -> tuple[PlacedStep, ...]:
    return tuple(
        PlacedStep(
            step.mesh_dim,
            placements(step.before)[step.mesh_dim],
            placements(step.after)[step.mesh_dim],
            step.collective,
            step.bytes,
            step.seconds,
        )
        for step in steps
    )
