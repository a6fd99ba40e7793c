"""Whole models: the programme against the quick choices, and copies of blocks folded into one."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from planner.errors import NoAnswerError
from planner.hardware.loader import load_cluster
from planner.models.operator_graph.types import OperatorGraph
from planner.solvers.sharding import (
    DeviceMesh,
    Problem,
    Search,
    best_sharding,
    extract,
    make_problem,
    mesh_hardware,
    two_rules,
)

SLOW_DEVICES: Mapping[str, Any] = {
    "accelerator": "cpu",
    "nodes": 2,
    "devices_per_node": 2,
    "network": [
        {"name": "nvlink", "kind": "nvlink4", "size": 2},
        {"name": "infiniband", "kind": "infiniband-ndr"},
    ],
}
"""Links are fast beside such devices, so that splits pay even for models of a few thousand parameters."""

MODELS = ("gpt2", "llama", "t5", "bert", "vit", "moe")


def problem_of(graph: OperatorGraph, *mesh: int, **more: bool) -> Problem:
    return make_problem(graph, mesh_hardware(load_cluster(SLOW_DEVICES), DeviceMesh(mesh)), **more)


@pytest.mark.parametrize("name", MODELS)
def test_never_worse_than_quick_choices(name: str, example: Callable[[str], OperatorGraph]) -> None:
    problem = problem_of(example(name), 2, 2)
    answer = best_sharding(problem)
    assert answer.solution.status == "optimal"
    for rival, choice in answer.rivals.items():
        assert answer.seconds <= problem.seconds(choice) * (1 + 1e-9), rival
    assert answer.lower_bound_s == pytest.approx(answer.seconds, rel=1e-6)
    assert answer.seconds < problem.seconds(answer.rivals["replicated"])


@pytest.mark.parametrize("name", ["gpt2"])
def test_folded_copies_cost_what_they_cost_one_by_one(
    name: str, example: Callable[[str], OperatorGraph]
) -> None:
    """The same choice for all copies, priced in the graph without any folding."""
    folded = problem_of(example(name), 2, 2)
    plain = problem_of(replace(example(name), representatives={}), 2, 2)
    assert len(folded.nodes) < len(plain.nodes)
    draw = random.Random(0)
    random_choice = [draw.randrange(len(node)) for node in folded.nodes]
    for choice in (*best_sharding(folded).rivals.values(), random_choice):
        unfolded = [choice[folded.places[node.kind, node.name]] for node in plain.nodes]
        assert plain.seconds(unfolded) == pytest.approx(folded.seconds(choice), rel=1e-9)
        assert plain.bytes(unfolded) == pytest.approx(folded.bytes(choice), rel=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_what_is_sent_and_computed_adds_up(training: bool, example: Callable[[str], OperatorGraph]) -> None:
    """The plan's list of calls, one by one, against the totals that the choice is made by."""
    problem = problem_of(example("moe"), 2, 2, training=training)
    draw = random.Random(1)
    choice = [draw.randrange(len(node)) for node in problem.nodes]
    plan = extract(problem, choice)
    steps = [step for item in plan.transitions for step in (*item.forward, *item.backward)]
    own = sum(float(node.seconds[at]) for node, at in zip(problem.nodes, choice, strict=True))
    assert own + sum(step.seconds for step in steps) == pytest.approx(problem.seconds(choice), rel=1e-9)
    assert any(item.in_pass == "backward" for item in plan.sent()) is training


def test_a_limit_that_comes_first_is_told(example: Callable[[str], OperatorGraph]) -> None:
    """The best quick choice that fits, improved, with what is proved of it: not much."""
    problem = problem_of(example("moe"), 2, 2)
    rules = two_rules(problem)
    held = problem.bytes(rules)
    answer = best_sharding(problem, Search(memory_bytes=held, time_limit_s=1e-3))
    assert answer.solution.status == "feasible"
    assert not answer.whole_at_once
    assert 0 <= answer.lower_bound_s < answer.seconds <= problem.seconds(rules)
    assert problem.bytes(answer.choice) <= held
    with pytest.raises(NoAnswerError, match=r"within 0\.001 s"):
        best_sharding(problem, Search(memory_bytes=held / 3, time_limit_s=1e-3))
