"""Memory as a constraint, against all combinations, and what is said when nothing fits."""

from __future__ import annotations

import numpy as np
import pytest

from planner.errors import NoAnswerError
from planner.solvers.sharding import DeviceMesh, Search, best_sharding, make_problem, mesh_hardware
from tests.solvers.sharding.brute_force import BruteForce
from tests.solvers.sharding.graphs import GraphMaker, mlp, two_nodes

MESH = (4,)


def tied() -> GraphMaker:
    """One weight used twice, and a residual."""
    maker = GraphMaker()
    x = maker.unary(maker.value("x", 1025, 2048, kind="input"))
    weight = maker.value("w", 2048, 2048, kind="parameter")
    y = maker.linear(maker.linear(x, 2048, weight), 2048, weight)
    maker.plus(x, y)
    return maker


GRAPHS = {"mlp": mlp(2048, 1024, 4096), "tied": tied().graph("tied", "elementwise3")}


@pytest.mark.parametrize("back_end", ["highs", "cbc"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.7])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_fastest_within_memory(name: str, share: float, back_end: str) -> None:
    graph = GRAPHS[name]
    brute = BruteForce(graph, two_nodes(), MESH, leaves=True)
    seconds, held = brute.seconds(), brute.bytes() + np.zeros(brute.shape)
    limit = held.min() + share * (held.max() - held.min())
    problem = make_problem(graph, mesh_hardware(two_nodes(), DeviceMesh(MESH)))
    answer = best_sharding(problem, Search(memory_bytes=limit, back_end=back_end))  # type: ignore[arg-type]
    assert problem.seconds(answer.choice) == pytest.approx(seconds[held <= limit].min(), rel=1e-9)
    assert problem.bytes(answer.choice) <= limit * (1 + 1e-9)


def test_the_least_memory_is_what_every_combination_needs() -> None:
    graph = GRAPHS["mlp"]
    least = BruteForce(graph, two_nodes(), MESH, leaves=True).bytes().min()
    problem = make_problem(graph, mesh_hardware(two_nodes(), DeviceMesh(MESH)))
    best_sharding(problem, Search(memory_bytes=least * 1.0001))
    with pytest.raises(NoAnswerError, match="memory of one rank"):
        best_sharding(problem, Search(memory_bytes=least * 0.999))
