"""Alternatives of an operator, and limits of the solver."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.solvers.sharding import Answer, DeviceMesh, Search, best_sharding, make_problem, mesh_hardware
from planner.solvers.sharding.explain import runners_up, why
from planner.solvers.sharding.solve import with_pins
from tests.solvers.sharding.brute_force import BruteForce
from tests.solvers.sharding.graphs import mlp, two_nodes

GRAPH = mlp(4096, 1024, 4096)
MESH = (2, 2)


@pytest.fixture(scope="module")
def answer() -> Answer:
    return best_sharding(make_problem(GRAPH, mesh_hardware(two_nodes(), DeviceMesh(MESH))))


def test_what_each_alternative_costs(answer: Answer) -> None:
    """Against all combinations in which the operator takes that alternative."""
    brute = BruteForce(GRAPH, two_nodes(), MESH)
    every, place = brute.seconds(), brute.order.index("matmul0")
    by_way = dict(
        zip(
            [way.split for way in brute.ways["matmul0"]],
            every.min(axis=tuple(at for at in range(every.ndim) if at != place)),
            strict=True,
        )
    )
    found = why(answer, "matmul0", Search(), resolve=6)
    assert len(found.others) == len(by_way) - 1
    assert [item.kept_s for item in found.others] == sorted(item.kept_s for item in found.others)
    for item in found.others[:6]:
        assert item.resolved_s == pytest.approx(by_way[item.split] - every.min(), abs=1e-12)
        assert 0 <= item.resolved_s <= item.kept_s + 1e-12


def test_next_best_of_every_operator(answer: Answer) -> None:
    found = runners_up(answer)
    assert set(found) == {"matmul0", "elementwise1", "matmul2"}
    number = answer.problem.places["operator", "matmul2"]
    assert found["matmul2"].kept_s == pytest.approx(
        min(
            answer.problem.seconds((*answer.choice[:number], at, *answer.choice[number + 1 :]))
            for at in range(len(answer.problem.nodes[number]))
            if at != answer.choice[number]
        )
        - answer.seconds
    )


def test_unknown_operators_are_named(answer: Answer) -> None:
    with pytest.raises(PlannerError, match="did you mean 'matmul2'"):
        why(answer, "matmul22", Search())


def test_pins_hold(answer: Answer) -> None:
    pinned = {answer.problem.places["operator", "matmul0"]: 0}
    again = with_pins(answer, pinned)
    assert again.choice[answer.problem.places["operator", "matmul0"]] == 0
    assert again.seconds >= answer.seconds


def test_the_programme_is_written(answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "shard.lp"
    best_sharding(answer.problem, lp_file=file)
    text = file.read_text()
    assert all(word in text for word in ("Minimize", "Subject To", "Binaries", "s0_0", "End"))
