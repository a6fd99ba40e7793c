"""Whole tensors that enter a graph: inputs, parameters and their parts, constants worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from planner.models.operator_graph.calls import call
from planner.models.operator_graph.nodes import TracedGraph
from planner.models.operator_graph.rewrite import constant_calls
from planner.models.operator_graph.types import OperatorGraph

if TYPE_CHECKING:
    from torch import Tensor


def leaf_tensors(graph: OperatorGraph, traced: TracedGraph, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A tensor for every value of the graph that no operator of it makes.

    Args:
        traced: the graph as it was imported, with the calls that make constants.
        given: inputs, parameters and buffers by name.
    """
    import torch

    known = dict(given)
    with torch.no_grad():
        for node in constant_calls(traced):
            if node.target.startswith("aten."):  # an ONNX shape: its readers have been given the lengths
                made = call(node.target, node.arguments, node.keywords, known)
                known |= dict(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=True))
    return {name: _leaf(graph, name, known) for name in graph.values if name not in graph.producers}


def _leaf(graph: OperatorGraph, name: str, known: Mapping[str, Tensor]) -> Tensor:
    value = graph.values[name]
    if value.part_of is None or value.part is None:
        return known[name]
    dim, start, end = value.part
    return known[value.part_of].narrow(dim, start, end - start)
