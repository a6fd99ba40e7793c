"""Shardings of whole models: size of the programme, what is proved, CPU seconds from the traced graph to the plan."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from planner.hardware.loader import load_cluster
from planner.models.operator_graph.load import load_graph
from planner.solvers.sharding import Answer, best_sharding, make_problem, mesh_hardware, parse_mesh

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "operator_graphs"
LIMIT_S = 30.0


@pytest.mark.parametrize("mesh", ["8", "2x4"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bert", "vit", "moe"])
def test_sharding(benchmark: Any, name: str, mesh: str) -> None:
    graph = load_graph(f"{EXAMPLES / name}.py:make_module")
    hardware = mesh_hardware(load_cluster("h100-superpod"), parse_mesh(mesh))

    def chosen() -> Answer:
        return best_sharding(make_problem(graph, hardware))

    begin = time.process_time()
    answer = chosen()
    spent = time.process_time() - begin
    size = f"{len(graph.operators)} operators, {answer.columns:,} variables, {answer.rows:,} constraints"
    benchmark.extra_info["note"] = f"{size}, {answer.solution.status}, {spent:.2f} s of CPU"
    assert answer.solution.status == "optimal"
    assert spent < LIMIT_S
    benchmark.pedantic(chosen, rounds=1)
