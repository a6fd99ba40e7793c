"""Fused weights (q, k, v in one; gate and up in one) taken apart, so that each part can be split by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from planner.models.operator_graph.nodes import Node, Ref, TracedGraph
from planner.models.operator_graph.types import Value

_CUTS = ("aten.split", "aten.split_with_sizes", "aten.chunk")
_PRODUCTS = ("aten.linear", "aten.mm", "aten.matmul")
_VIEWS = ("aten.view", "aten._unsafe_view", "aten.reshape")


def with_weights_cut(graph: TracedGraph) -> TracedGraph:
    """A fused weight whose product is cut into parts at once becomes one weight per part.

    A contiguous split of the fused output would give ranks other columns than a split of each part does. Between product
    and cut may stand an added bias and a view of all dimensions but the last.
    """
    reads = Counter(name for node in graph.nodes for name in node.inputs) + Counter(graph.outputs)
    by_output = {name: node for node in graph.nodes for name in node.outputs}
    values, replaced = dict(graph.values), dict[str, list[Node]]()
    gone: set[str] = set()
    notes = list(graph.notes)
    for cut in graph.nodes:
        chain = _chain(cut, by_output, graph.values)
        if chain is None or any(reads[node.outputs[0]] != 1 for node in chain):
            continue
        count = len(cut.outputs)
        replaced[cut.name] = [node for index in range(count) for node in _part(cut, chain, index, values)]
        gone.update(node.name for node in chain)
        notes.append(f"{chain[0].inputs[1]} is cut into {count} weights, one per part of its product")
    nodes = [new for node in graph.nodes if node.name not in gone for new in replaced.get(node.name, [node])]
    return replace(graph, values=values, nodes=tuple(nodes), notes=tuple(notes))


def _chain(cut: Node, by_output: Mapping[str, Node], values: Mapping[str, Value]) -> list[Node] | None:
    """Product, addition of a bias, view: those that stand right before a cut of the last dimension, in this order."""
    if cut.target not in _CUTS:
        return None
    rank = len(values[cut.inputs[0]].shape)
    dim = cut.arguments[2] if len(cut.arguments) > 2 else cut.keywords.get("dim", 0)
    if dim not in (-1, rank - 1):
        return None
    chain: list[Node] = []
    node = by_output.get(cut.inputs[0])
    for belongs in (_views_rows, _adds_bias):
        if node is not None and belongs(node, values):
            chain.insert(0, node)
            node = by_output.get(node.inputs[0])
    if node is None or node.target not in _PRODUCTS or values[node.inputs[1]].kind != "parameter":
        return None
    return [node, *chain]


def _views_rows(node: Node, values: Mapping[str, Value]) -> bool:
    """Whether a view leaves the last dimension as it is."""
    return node.target in _VIEWS and values[node.inputs[0]].shape[-1:] == values[node.outputs[0]].shape[-1:]


def _adds_bias(node: Node, values: Mapping[str, Value]) -> bool:
    if node.target != "aten.add" or len(node.inputs) != 2:
        return False
    bias = values[node.inputs[1]]
    return bias.kind == "parameter" and len(bias.shape) == 1


def _part(cut: Node, chain: list[Node], index: int, values: dict[str, Value]) -> list[Node]:
    """The calls of one part, with weights that are slices; adds their values."""
    start = sum(values[name].shape[-1] for name in cut.outputs[:index])
    end = start + values[cut.outputs[index]].shape[-1]
    made: list[Node] = []
    for node in chain:
        whole = values[node.outputs[0]]
        output = cut.outputs[index] if node is chain[-1] else f"{whole.name}[{index}]"
        values[output] = replace(whole, name=output, shape=(*whole.shape[:-1], end - start))
        first = Ref(made[-1].outputs[0]) if made else node.arguments[0]
        second: object = values[output].shape
        if node.target not in _VIEWS:
            second = Ref(_slice(values, node, index, (start, end)))
        made.append(replace(node, name=f"{node.name}[{index}]", arguments=(first, second), outputs=(output,)))
    return made


def _slice(values: dict[str, Value], node: Node, index: int, part: tuple[int, int]) -> str:
    """Name of the part of a weight (or bias) along its output; adds its value."""
    weight = values[node.inputs[1]]
    dim = 0 if node.target == "aten.linear" else len(weight.shape) - 1
    name = f"{weight.name}[{index}]"
    shape = tuple(part[1] - part[0] if at == dim else size for at, size in enumerate(weight.shape))
    values[name] = replace(
        weight, name=name, shape=shape, part_of=weight.part_of or weight.name, part=(dim, *part)
    )
    return name
