"""A chosen sharding for programs: JSON and the plan file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from planner.solvers.sharding.explain import Alternative, Why
from planner.solvers.sharding.extract import extract
from planner.solvers.sharding.plan import ShardingPlan
from planner.solvers.sharding.plan_file import plan_document
from planner.solvers.sharding.problem import Problem
from planner.solvers.sharding.solve import Answer
from planner.solvers.sharding.styles import parallel_styles

PARTS = ("kernels_s", "forward_s", "backward_s")


def sharding_json(
    problem: Problem,
    choice: Sequence[int],
    rivals: Mapping[str, Sequence[int]],
    *,
    name: str,
    memory_bytes: float | None,
    answer: Answer | None,
) -> dict[str, Any]:
    """Everything about a chosen sharding as plain data.

    Args:
        choice: the one to describe.
        rivals: others by name.
        name: ``ilp``, or the rule that made it.
        memory_bytes: the limit that was set; None for the memory of a device.
        answer: of the programme, where it chose.
    """
    plan = extract(problem, choice)
    return {
        "graph": problem.graph.name,
        "mesh": list(plan.mesh),
        "cluster": problem.hardware.cluster.name,
        "training": plan.training,
        "chosen_by": name,
        **_totals(problem, choice, plan, memory_bytes),
        "certificate": None if answer is None else _certificate(answer),
        "rivals": {
            rival: _totals(problem, other, extract(problem, other), memory_bytes)
            for rival, other in rivals.items()
        },
        "stored": {value: list(where) for value, where in plan.stored.items()},
        "operators": [_operator(problem, plan, number) for number in range(len(plan.choices))],
        "transitions": [asdict(item) for item in plan.transitions if item.forward or item.backward],
        "inner": [asdict(item) for item in plan.inner],
        "parallel_styles": asdict(parallel_styles(problem.graph, plan)),
        "notes": [*problem.graph.notes, *_indivisible(problem)],
    }


def plan_file_data(problem: Problem, choice: Sequence[int], payload: Mapping[str, Any]) -> dict[str, Any]:
    """What ``-o`` writes: the plan, then what was predicted.

    Args:
        payload: of ``sharding_json`` for the same choice.
    """
    kept = {key: payload[key] for key in ("cluster", "chosen_by", "parallel_styles")}
    predicted = {key: payload[key] for key in ("seconds", *PARTS, "bytes", "certificate")}
    return plan_document(extract(problem, choice), **kept, prediction=predicted)


def why_json(found: Why) -> dict[str, Any]:
    """Alternatives of one operator as plain data."""
    return {
        "operator": found.operator,
        "chosen": alternative_json(found.chosen),
        "others": [alternative_json(other) for other in found.others],
    }


def alternative_json(item: Alternative) -> dict[str, Any]:
    """One alternative; null where the rest cannot be kept, or was not chosen again."""
    plain = asdict(item)
    plain["kept_s"] = item.kept_s if math.isfinite(item.kept_s) else None
    return plain


def _indivisible(problem: Problem) -> Iterator[str]:
    """Mesh dimensions that no operator can use."""
    used = {
        dim
        for node in problem.nodes
        for strategy in node.strategies
        for dim, item in enumerate(strategy.split)
        if isinstance(item, str)
    }
    for dim, size in enumerate(problem.hardware.mesh.shape):
        if dim not in used and size > 1:
            yield f"nothing is split by {size} on mesh dimension {dim}: no axis that may be split is a multiple of it"


def _totals(
    problem: Problem, choice: Sequence[int], plan: ShardingPlan, memory_bytes: float | None
) -> dict[str, Any]:
    seconds, held = problem.seconds(choice), problem.bytes(choice)
    forward, backward = _moved(plan, "forward"), _moved(plan, "backward")
    limit = problem.hardware.cluster.accelerator.memory_bytes if memory_bytes is None else memory_bytes
    return {
        "seconds": seconds,
        "kernels_s": max(0.0, seconds - forward - backward),
        "forward_s": forward,
        "backward_s": backward,
        "bytes": held,
        "fits": held <= limit,
        "collectives": {
            in_pass: sum(item.in_pass == in_pass for item in plan.sent())
            for in_pass in ("forward", "backward")
        },
    }


def _moved(plan: ShardingPlan, in_pass: str) -> float:
    """Seconds of collectives and fills of one pass."""
    inner = math.fsum(item.seconds for item in plan.inner if item.in_pass == in_pass)
    passes = (item.forward if in_pass == "forward" else item.backward for item in plan.transitions)
    return inner + math.fsum(step.seconds for steps in passes for step in steps)


def _certificate(answer: Answer) -> dict[str, Any]:
    solution = answer.solution
    return {
        "status": solution.status,
        "best_s": answer.seconds,
        "lower_bound_s": answer.lower_bound_s,
        "gap": max(0.0, 1.0 - answer.lower_bound_s / answer.seconds) if answer.seconds else 0.0,
        "relaxation_whole": answer.whole_at_once,
        "back_end": solution.back_end,
        "solver_s": solution.seconds,
        "variables": answer.columns,
        "constraints": answer.rows,
    }


def _operator(problem: Problem, plan: ShardingPlan, number: int) -> dict[str, Any]:
    operator, choice = problem.graph.operators[number], plan.choices[number]
    return {
        "name": operator.name,
        "kind": operator.kind,
        "target": operator.target,
        "module": operator.module,
        "copy_of": None
        if problem.graph.representative(operator.name) == operator.name
        else problem.graph.representative(operator.name),
        "parameters": [name for name in operator.inputs if problem.graph.values[name].kind == "parameter"],
        "split": list(choice.split),
        "inputs": [list(where) for where in choice.inputs],
        "outputs": [list(where) for where in choice.outputs],
    }
