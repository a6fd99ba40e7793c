"""Plan files: what is written is what is read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from planner.documents import write_yaml
from planner.errors import PlannerError
from planner.solvers.sharding import DeviceMesh, ShardingPlan, extract, make_problem, mesh_hardware
from planner.solvers.sharding.plan_file import plan_document, read_plan
from tests.solvers.sharding.graphs import language_model, two_nodes


def random_plan(seed: int) -> ShardingPlan:
    graph = language_model(4096, 1024, 8192)
    problem = make_problem(graph, mesh_hardware(two_nodes(), DeviceMesh((2, 4))))
    draw = random.Random(seed)
    return extract(problem, [draw.randrange(len(node)) for node in problem.nodes])


@pytest.mark.parametrize("seed", range(5))
def test_plans_survive_their_file(seed: int, tmp_path: Path) -> None:
    plan = random_plan(seed)
    write_yaml(tmp_path / "plan.yaml", plan_document(plan, cluster="two nodes", prediction={"seconds": 1.0}))
    assert read_plan(tmp_path / "plan.yaml") == plan


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mesh": "2x4"}, "mesh"),
        ({"colour": "red"}, "colour"),
        ({"stored": {"w": [["S0"]]}}, "stored"),
        ({"transitions": [{"value": "x"}]}, "transitions"),
    ],
)
def test_faults_are_named(change: dict[str, object], field: str, tmp_path: Path) -> None:
    write_yaml(tmp_path / "plan.yaml", {**plan_document(random_plan(0)), **change})
    with pytest.raises(PlannerError) as caught:
        read_plan(tmp_path / "plan.yaml")
    assert str(caught.value.field).startswith(field)
