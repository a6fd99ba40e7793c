"""Which plans of which models are run: the chosen one, its rivals, and some made at random."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.errors import PlannerError, suggest
from planner.hardware.loader import load_cluster
from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.types import OperatorGraph
from planner.solvers.sharding import (
    Problem,
    ShardingPlan,
    best_sharding,
    extract,
    make_problem,
    mesh_hardware,
    parse_mesh,
    rivals,
)
from planner.solvers.sharding.plan_file import read_plan
from planner.validation.sharding.runs import ShardingRun

PLANS = ("ilp", "two rules", "data parallel", "greedy", "replicated")
"""What a plan can be made by, besides at random."""

BUILT_IN = ("gpt2", "llama", "t5", "bert", "vit", "moe")
"""Example models."""

SLOW_DEVICES: Mapping[str, Any] = {
    "accelerator": "cpu",
    "nodes": 4,
    "devices_per_node": 2,
    "network": [
        {"name": "nvlink", "kind": "nvlink4", "size": 2},
        {"name": "infiniband", "kind": "infiniband-ndr"},
    ],
}
"""What plans are priced on: links are fast beside such devices, so that splits pay even for small models."""


@dataclass(frozen=True)
class ShardingCase:
    """A run and where its plan comes from."""

    model: str
    mesh: str
    made_by: str
    run: ShardingRun


def built_in_models() -> tuple[str, ...]:
    """Sources of the example models of a checkout.

    Raises:
        PlannerError: there is no checkout around.
    """
    folder = Path(__file__).resolve().parents[3] / "examples" / "operator_graphs"
    if not folder.is_dir():
        raise PlannerError("the example models are not installed: name a model, MODEL.py:FUNCTION")
    return tuple(f"{folder / name}.py:make_module" for name in BUILT_IN)


def cases(
    models: Sequence[str],
    meshes: Sequence[str],
    plans: Sequence[str] = PLANS,
    *,
    at_random: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> list[ShardingCase]:
    """Plans of every model on every mesh, each different one once.

    Args:
        models: sources that hold numbers, as for ``load_graph``.
        meshes: ``2``, ``2x2``.
        plans: names out of ``PLANS``, or files that ``plan shard -o`` wrote for a model (on their own meshes).
        at_random: plans besides, every operator and stored tensor split by chance.
        progress: gets the share that is done and the model that follows.

    Raises:
        PlannerError: an unknown plan, a plan of another graph, or a model or mesh that cannot be read.
    """
    files = [name for name in plans if Path(name).suffix in (".yaml", ".yml")]
    plans = [name for name in plans if name not in files]
    for name in plans:
        if name not in PLANS:
            raise PlannerError(f"unknown plan '{name}'; {suggest(name, PLANS)}", field="--plan")
    cluster = load_cluster(SLOW_DEVICES)
    shapes = [parse_mesh(mesh) for mesh in meshes]
    found = []
    for number, model in enumerate(models):
        if progress is not None:
            progress(number / len(models), f"choosing plans of {_name(model)}")
        graph = load_graph(model)
        for file in files:
            plan = _plan_of(graph, file)
            mesh = "x".join(str(size) for size in plan.mesh)
            found.append(ShardingCase(_name(model), mesh, Path(file).name, ShardingRun(model, plan)))
        for shape in shapes if plans or at_random else ():
            problem = make_problem(graph, mesh_hardware(cluster, shape))
            for made_by, choice in _distinct(problem, plans, at_random):
                run = ShardingRun(model, extract(problem, choice))
                found.append(ShardingCase(_name(model), shape.text, made_by, run))
    return found


def _plan_of(graph: OperatorGraph, file: str) -> ShardingPlan:
    """The plan of a file, which must be one for training this graph."""
    plan = read_plan(file)
    names = [choice.operator for choice in plan.choices]
    if names != [operator.name for operator in graph.operators] or not plan.training:
        raise PlannerError(f"is no plan for training {graph.name}: its operators differ", file=file)
    return plan


def _name(model: str) -> str:
    return Path(model.partition(":")[0]).stem


def _distinct(problem: Problem, plans: Sequence[str], at_random: int) -> Iterator[tuple[str, Sequence[int]]]:
    """Choices by name; one that two names share comes under the first."""
    quick = rivals(problem)
    seen: set[tuple[int, ...]] = set()
    for name in plans:
        choice = best_sharding(problem).choice if name == "ilp" else quick[name]
        if tuple(choice) not in seen:
            seen.add(tuple(choice))
            yield name, choice
    for seed in range(at_random):
        draw = random.Random(seed)
        yield f"random {seed}", [draw.randrange(len(node)) for node in problem.nodes]
