"""Plans from files among the cases that are run."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.cli.main import run
from planner.errors import PlannerError
from planner.solvers.sharding.plan_file import read_plan
from planner.validation.sharding.cases import cases

GRAPH = """
inputs: {{x: "float32[8,64]"}}
parameters: {{w: "float32[64,64]"}}
values: {{h: "float32[8,64]", y: "float32[8,64]"}}
outputs: [y]
operators:
  - {{call: aten.linear, arguments: [$x, $w], outputs: [h], name: {name}}}
  - {{call: aten.gelu, arguments: [$h], outputs: [y]}}
"""


def written(folder: Path, name: str, *options: str) -> tuple[str, str]:
    """A graph and a plan of it."""
    graph, plan = folder / f"{name}.yaml", folder / f"{name}-plan.yaml"
    graph.write_text(GRAPH.format(name=name))
    assert run(["shard", str(graph), "--mesh", "2x2", "-q", "-o", str(plan), *options]) == 0
    return str(graph), str(plan)


def test_a_file_is_run_on_its_own_mesh(tmp_path: Path) -> None:
    graph, plan = written(tmp_path, "first", "--rules", "auto")
    (case,) = cases([graph], ["4"], [plan])
    assert (case.mesh, case.made_by) == ("2x2", "first-plan.yaml")
    assert case.run.plan == read_plan(plan)


def test_a_plan_of_another_graph_is_refused(tmp_path: Path) -> None:
    graph, _ = written(tmp_path, "first")
    for _, plan in (written(tmp_path, "second"), written(tmp_path, "first", "--inference")):
        with pytest.raises(PlannerError, match="no plan for training first"):
            cases([graph], ["4"], [plan])
