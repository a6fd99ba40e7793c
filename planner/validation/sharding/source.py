"""Whole models that a run compares with: their graph, their tensors, and one process's outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlannerError
from planner.models.operator_graph.calls import call
from planner.models.operator_graph.derive import operator_graph
from planner.models.operator_graph.nodes import TracedGraph, with_parts
from planner.models.operator_graph.rules.call import FLOATS
from planner.models.operator_graph.types import ElementType, OperatorGraph

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.export import ExportedProgram

Forward = Callable[[Mapping[str, "Tensor"], Sequence["Tensor"]], Sequence["Tensor"]]


@dataclass(frozen=True)
class Source:
    """A model that can run.

    Args:
        traced, graph: as imported.
        tensors: parameters and constants by name.
        forward: outputs for given parameters (by name) and inputs, on one process, without anything of the graph.
    """

    traced: TracedGraph
    graph: OperatorGraph
    tensors: Mapping[str, Tensor]
    forward: Forward


def open_source(text: str, inputs: Sequence[str] = (), *, block: bool = False) -> Source:
    """The model of a source that has numbers.

    Raises:
        PlannerError: it has none (a graph file, a module on device meta), or cannot be imported.
    """
    if ".py:" in text:
        from planner.models.operator_graph.user_module import user_module

        made = user_module(text, inputs, block=block)
        return _source(made.program, made.traced, lambda: made.module)
    path = Path(text)
    if path.suffix == ".pt2":
        from planner.models.operator_graph.torch_export import load_exported, traced

        program = load_exported(path)
        return _source(program, traced(program, path.stem, block=block), program.module)
    if path.suffix == ".onnx":
        return _onnx(path, block)
    raise PlannerError(
        f"{text} holds no numbers that can be run: give MODEL.py:FUNCTION, FILE.pt2 or FILE.onnx"
    )


def _onnx(path: Path, block: bool) -> Source:
    """The reference is the imported calls themselves, one after another on whole tensors."""
    import torch

    from planner.models.operator_graph.onnx_import import stored_arrays, traced_onnx

    graph = traced_onnx(path, block=block)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in stored_arrays(path).items()}

    def forward(parameters: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        known = {**tensors, **parameters, **dict(zip(graph.inputs, inputs, strict=True))}
        for node in graph.nodes:
            if node.target.startswith("aten."):
                made = call(node.target, node.arguments, node.keywords, known)
                known |= dict(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))
        return [known[name] for name in graph.outputs]

    return Source(graph, operator_graph(graph), tensors, forward)


def _source(program: ExportedProgram, traced: TracedGraph, module: Callable[[], torch.nn.Module]) -> Source:
    import torch

    tensors = {**program.state_dict, **program.constants}
    if any(tensor.is_meta for tensor in tensors.values() if isinstance(tensor, torch.Tensor)):
        raise PlannerError(f"{traced.name} has no numbers (device meta): it can be planned but not run")

    graph = operator_graph(traced)

    def forward(parameters: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        # of tied parameters the graph knows one name; functional_call finds the others
        read = {value.part_of or value.name for value in graph.values.values()} & program.state_dict.keys()
        known = {name: tensor for name, tensor in parameters.items() if name in read}
        result = torch.func.functional_call(module(), known, tuple(inputs))
        return [part for part in torch.utils._pytree.tree_leaves(result) if part is not None]

    return Source(traced, graph, tensors, forward)


def widened(traced: TracedGraph) -> TracedGraph:
    """With 64 bits wherever a tensor or a call has a floating element type."""

    def wide(name: str) -> str:
        return "float64" if name in FLOATS else name

    values = {name: replace(value, dtype=wide(value.dtype)) for name, value in traced.values.items()}
    nodes = tuple(
        with_parts(node, ElementType, lambda found: ElementType(wide(found.name))) for node in traced.nodes
    )
    return replace(traced, values=values, nodes=nodes)


def random_inputs(graph: OperatorGraph, seed: int = 0) -> dict[str, Tensor]:
    """Inputs by name: floats from a normal distribution, integers below every table's rows and every loss's classes."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    limit = min(
        (
            operator.axes.get("vocabulary", 2)
            for operator in graph.operators
            if operator.kind in ("embedding", "loss")
        ),
        default=2,
    )
    found: dict[str, Tensor] = {}
    for name in graph.inputs:
        value = graph.values[name]
        dtype: torch.dtype = getattr(torch, value.dtype)
        if dtype.is_floating_point:
            found[name] = torch.randn(value.shape, generator=generator, dtype=dtype)
        else:
            found[name] = torch.randint(limit, value.shape, generator=generator).to(dtype)
    return found
