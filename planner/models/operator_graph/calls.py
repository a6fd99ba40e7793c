"""Calls of ATen functions by name, on PyTorch tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.models.operator_graph.nodes import Ref
from planner.models.operator_graph.types import ElementType, Operand

if TYPE_CHECKING:
    from torch import Tensor


def function_of(target: str) -> Any:
    """The PyTorch function of an ATen name.

    Raises:
        PlannerError: there is none.
    """
    import torch

    target = (
        "aten.reshape" if target == "aten.view" else target
    )  # tensors that lie in another order are copied
    found = (
        getattr(torch.ops.aten, target.removeprefix("aten."), None) if target.startswith("aten.") else None
    )
    if found is None:
        raise PlannerError(f"{target} is no function of this PyTorch: the graph cannot be run")
    return found


def call(
    target: str,
    arguments: Sequence[object],
    keywords: Mapping[str, object],
    tensors: Mapping[Any, Tensor],
) -> Any:
    """A function on tensors: of operands by position, of references by name."""
    import torch

    def filled(argument: object) -> Any:
        if isinstance(argument, Operand):
            return tensors[argument.position]
        if isinstance(argument, Ref):
            return tensors[argument.name]
        if isinstance(argument, ElementType):
            return getattr(torch, argument.name)
        if isinstance(argument, tuple):
            return [filled(part) for part in argument]
        return argument

    named = {key: filled(argument) for key, argument in keywords.items()}
    result = function_of(target)(*map(filled, arguments), **named)
    return tuple(result) if isinstance(result, list | tuple) else result
