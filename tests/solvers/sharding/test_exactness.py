"""The linear programme against all combinations of small graphs."""

from __future__ import annotations

import math

import pytest

from planner.models.operator_graph.types import GraphOperator, OperatorGraph
from planner.solvers.sharding import DeviceMesh, Search, best_sharding, make_problem, mesh_hardware
from tests.solvers.sharding.brute_force import BruteForce, ways
from tests.solvers.sharding.graphs import language_model, mlp, random_graph, residual, two_nodes

MESH = (2, 4)
MOST = 100_000
"""Combinations of one random graph."""

HAND_MADE = {
    "mlp": mlp(4096, 1024, 4096),
    "narrow mlp": mlp(256, 4096, 4096),
    "odd mlp": mlp(4096, 1025, 2050),
    "language model": language_model(2050, 1025, 8200),
    "small language model": language_model(1025, 512, 4098),
    "residual": residual(4098, 1025, 4096),
}


def solved(graph: OperatorGraph, **search: object) -> tuple[float, float]:
    problem = make_problem(graph, mesh_hardware(two_nodes(), DeviceMesh(MESH)))
    answer = best_sharding(problem, Search(**search))  # type: ignore[arg-type]
    assert answer.solution.status == "optimal"
    assert answer.lower_bound_s == pytest.approx(answer.seconds, rel=1e-6)
    return answer.seconds, problem.bytes(answer.choice)


@pytest.mark.parametrize("name", HAND_MADE)
def test_graphs_made_by_hand(name: str) -> None:
    brute = BruteForce(HAND_MADE[name], two_nodes(), MESH)
    assert solved(HAND_MADE[name])[0] == pytest.approx(brute.seconds().min(), rel=1e-9)


def number_of_ways(operator: GraphOperator, graph: OperatorGraph) -> int:
    return len(ways(operator, graph, MESH))


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs(seed: int) -> None:
    graph = random_graph(seed, number_of_ways, MOST)
    brute = BruteForce(graph, two_nodes(), MESH)
    every = brute.seconds()
    assert every.size == math.prod(number_of_ways(item, graph) for item in graph.operators)
    assert solved(graph)[0] == pytest.approx(every.min(), rel=1e-9)
