"""A user's module, imported, exported and traced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.models.operator_graph.example_inputs import example_tensors, parse_input
from planner.models.operator_graph.nodes import TracedGraph
from planner.models.operator_graph.torch_export import exported_module, module_of, traced

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram


@dataclass(frozen=True)
class UserModule:
    """A module, the inputs that it was exported with, and what came of it."""

    module: torch.nn.Module
    inputs: tuple[torch.Tensor, ...]
    program: ExportedProgram
    traced: TracedGraph


def user_module(text: str, inputs: Sequence[str] = (), *, block: bool = False) -> UserModule:
    """The module of ``MODEL.py:FUNCTION``, exported; see ``load_graph`` for arguments and errors."""
    import torch

    made = module_of(text)
    module, given = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, torch.nn.Module):
        raise PlannerError(f"{text} gives {type(module).__name__}, not a torch.nn.Module")
    if inputs:
        device = next((tensor.device for tensor in module.parameters()), "cpu")
        given = example_tensors([parse_input(part) for part in inputs], device)
    if given is None:
        raise PlannerError(
            f"{text} gives no example inputs: say them, as --input 'int64[8,128]'", field="input"
        )
    if not isinstance(given, tuple | list) or not all(isinstance(part, torch.Tensor) for part in given):
        raise PlannerError(f"{text} gives inputs that are no tuple of tensors")
    program = exported_module(module, tuple(given))
    graph = traced(program, type(module).__name__, block=block)
    return UserModule(module, tuple(given), program, graph)
