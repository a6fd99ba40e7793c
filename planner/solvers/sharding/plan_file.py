"""Plan files of shardings: written whole, read back as the same plan."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from planner.documents import load_document, validate
from planner.solvers.sharding.placement import Placements
from planner.solvers.sharding.plan import Choice, InnerExchange, ShardingPlan, Split, Transition


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OperatorEntry(_Strict):
    """How one operator is split; see ``Choice``."""

    split: tuple[Split, ...]
    inputs: tuple[Placements, ...]
    outputs: tuple[Placements, ...]


class PlanFile(_Strict):
    """What a plan file holds; the last four are for readers and not read back."""

    graph: str
    mesh: tuple[int, ...]
    training: bool
    stored: dict[str, Placements]
    operators: dict[str, OperatorEntry]
    transitions: tuple[Transition, ...]
    inner: tuple[InnerExchange, ...]
    cluster: Any = None
    chosen_by: Any = None
    parallel_styles: Any = None
    prediction: Any = None


def plan_document(plan: ShardingPlan, **more: Any) -> dict[str, Any]:
    """A plan as the plain data of its file.

    Args:
        more: what readers want to know besides: cluster, chosen_by, parallel_styles, prediction.
    """
    entries = {
        choice.operator: {"split": choice.split, "inputs": choice.inputs, "outputs": choice.outputs}
        for choice in plan.choices
    }
    return {
        "graph": plan.graph,
        "mesh": plan.mesh,
        "training": plan.training,
        "stored": plan.stored,
        "operators": entries,
        "transitions": [asdict(item) for item in plan.transitions],
        "inner": [asdict(item) for item in plan.inner],
        **more,
    }


def read_plan(path: str | Path) -> ShardingPlan:
    """The plan of a file.

    Raises:
        PlannerError: no such file, or it holds no plan of a sharding; names the field.
    """
    file = validate(load_document(path), PlanFile)
    choices = (
        Choice(name, entry.split, entry.inputs, entry.outputs) for name, entry in file.operators.items()
    )
    return ShardingPlan(
        graph=file.graph,
        mesh=file.mesh,
        stored=file.stored,
        choices=tuple(choices),
        transitions=file.transitions,
        inner=file.inner,
        training=file.training,
    )
