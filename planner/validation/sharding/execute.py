"""Run a graph on a device mesh as a plan says: every tensor between two operators is a DTensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from planner.models.operator_graph.types import GraphOperator, OperatorGraph
from planner.solvers.sharding.plan import OUTPUT, Choice, ShardingPlan, Transition
from planner.validation.sharding.functions import local_function
from planner.validation.sharding.layout import Shares, local_part, torch_placements

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

Use = tuple[str, int]
"""An operator and the position among its inputs."""


def placed(tensor: Tensor, states: tuple[str, ...], mesh: DeviceMesh, gradient: bool) -> DTensor:
    """A whole tensor that every rank has, as a DTensor of each rank's part: a leaf for autograd."""
    from torch.distributed.tensor import DTensor

    part = local_part(tensor.detach(), states, mesh).contiguous().clone()
    made = DTensor.from_local(part, mesh, torch_placements(states), run_check=False)
    made.requires_grad_(gradient)
    return made


def executed(
    graph: OperatorGraph, plan: ShardingPlan, leaves: Mapping[str, DTensor], mesh: DeviceMesh
) -> tuple[DTensor, ...]:
    """The graph's outputs, in the placements of the plan.

    Args:
        leaves: inputs, parameters and constants by name, as the plan stores them.
    """
    made: dict[str, DTensor] = dict(leaves)
    transitions: dict[str, list[Transition]] = defaultdict(list)
    for transition in plan.transitions:
        transitions[transition.value].append(transition)
    uses: dict[Use, DTensor] = {}
    for name in leaves:
        _move(name, made[name], transitions, uses)
    choices = {choice.operator: choice for choice in plan.choices}
    for operator in graph.operators:
        inputs = [uses.pop((operator.name, position)) for position in range(len(operator.inputs))]
        outputs = _run(operator, choices[operator.name], inputs, transitions, mesh)
        for name, value in zip(operator.outputs, outputs, strict=True):
            _move(name, value, transitions, uses)
    return tuple(uses[OUTPUT, position] for position in range(len(graph.outputs)))


def _move(
    name: str, value: DTensor, transitions: Mapping[str, list[Transition]], uses: dict[Use, DTensor]
) -> None:
    """Brings a value to all of its consumers."""
    from planner.validation.sharding.transitions import moved

    for transition in transitions.get(name, ()):
        arrived = moved(value, transition)
        uses |= dict.fromkeys(transition.consumers, arrived)


def _run(
    operator: GraphOperator,
    choice: Choice,
    inputs: list[DTensor],
    transitions: Mapping[str, list[Transition]],
    mesh: DeviceMesh,
) -> tuple[DTensor, ...]:
    """One operator on every rank's parts, by DTensor's ``local_map``."""
    from torch.distributed.tensor.experimental import local_map

    gradients = tuple(
        _gradient(transitions[name], (operator.name, position), choice.inputs[position])
        for position, name in enumerate(operator.inputs)
    )
    run = local_map(
        local_function(Shares(operator, choice, mesh)),
        out_placements=tuple(list(torch_placements(states)) for states in choice.outputs),
        in_placements=tuple(torch_placements(states) for states in choice.inputs),
        in_grad_placements=tuple(torch_placements(states) for states in gradients),
        device_mesh=mesh,
    )
    result = run(*inputs)
    return result if isinstance(result, tuple) else (result,)


def _gradient(found: list[Transition], use: Use, states: tuple[str, ...]) -> tuple[str, ...]:
    """Placement in which an operator yields the gradient of an input; of one without gradient, any that is legal."""
    (transition,) = (each for each in found if use in each.consumers)
    return transition.gradient or tuple("R" if state == "P" else state for state in states)
