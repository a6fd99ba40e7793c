"""Rewriting of traced graphs: what carries no sharding choice goes, what hides one is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.models.operator_graph.fused_weights import with_weights_cut
from planner.models.operator_graph.nodes import Node, Ref, TracedGraph, with_parts
from planner.models.operator_graph.rules.call import FLOATS
from planner.models.operator_graph.types import ElementType

_IDENTITIES = frozenset(f"aten.{name}" for name in ("alias", "lift_fresh_copy", "contiguous", "clone"))
_CHECKS = ("aten._assert", "aten.sym_constrain", "aten._check")


def simplified(graph: TracedGraph) -> TracedGraph:
    """Without checks, copies, dead calls and calls on constants alone; additions of biases and parts of fused weights apart."""
    graph = _with_constants(_with_fills(_without_copies(graph)))
    graph = _with_biases_apart(graph)
    graph = with_weights_cut(_without_dead(graph))
    return _with_gradients(_without_dead(graph))


def constant_calls(graph: TracedGraph) -> tuple[Node, ...]:
    """The calls on constants alone that ``simplified`` leaves out, in an order in which they can run."""
    graph = _with_fills(_without_copies(graph))
    left = {node.name for node in _with_constants(graph).nodes}
    return tuple(node for node in graph.nodes if node.name not in left)


def _without_copies(graph: TracedGraph) -> TracedGraph:
    """Readers of a copy read the original; assertions go."""
    names: dict[str, str] = {}
    kept = []
    for node in graph.nodes:
        if node.target.startswith(_CHECKS):
            continue
        node = renamed(node, names)
        same = (
            node.target in _IDENTITIES
            and graph.values[node.inputs[0]].dtype == graph.values[node.outputs[0]].dtype
        )
        if same:
            names[node.outputs[0]] = node.inputs[0]
        else:
            kept.append(node)
    return replace(graph, nodes=tuple(kept), outputs=tuple(names.get(name, name) for name in graph.outputs))


def renamed(node: Node, names: Mapping[str, str]) -> Node:
    """A node that reads other values."""
    if not any(name in names for name in node.inputs):
        return node

    return with_parts(node, Ref, lambda ref: Ref(names.get(ref.name, ref.name)))


def _with_fills(graph: TracedGraph) -> TracedGraph:
    """``zeros_like(x)`` depends on nothing but the shape of x, which is fixed: a constant."""
    nodes = []
    for node in graph.nodes:
        fill = _FILLS.get(node.target)
        if fill is None and node.target not in ("aten.full_like", "aten.new_full"):
            nodes.append(node)
            continue
        value = graph.values[node.outputs[0]]
        content = fill if fill is not None else node.arguments[-1]
        keywords = {"dtype": ElementType(value.dtype)}
        nodes.append(replace(node, target="aten.full", arguments=(value.shape, content), keywords=keywords))
    return replace(graph, nodes=tuple(nodes))


_FILLS = {"aten.zeros_like": 0, "aten.ones_like": 1, "aten.new_zeros": 0, "aten.new_ones": 1}


def _with_constants(graph: TracedGraph) -> TracedGraph:
    """Calls on constants alone (masks, positions) become constants: every rank makes its own slice of them."""
    values = dict(graph.values)
    kept = []
    for node in graph.nodes:
        if all(values[name].kind == "constant" for name in node.inputs):
            for name in node.outputs:
                values[name] = replace(values[name], kind="constant", gradient=False)
        else:
            kept.append(node)
    return replace(graph, values=values, nodes=tuple(kept))


def _with_biases_apart(graph: TracedGraph) -> TracedGraph:
    """``linear(x, w, b)`` and ``addmm(b, x, w)`` become a product and an addition: partial sums must get the bias once."""
    values = dict(graph.values)
    nodes: list[Node] = []
    for node in graph.nodes:
        parts = _product_and_bias(node)
        if parts is None:
            nodes.append(node)
            continue
        target, factors, bias = parts
        bare = f"{node.outputs[0]}.product"
        values[bare] = replace(values[node.outputs[0]], name=bare)
        nodes.append(
            replace(
                node,
                name=f"{node.name}.product",
                target=target,
                arguments=factors,
                keywords={},
                outputs=(bare,),
            )
        )
        nodes.append(replace(node, target="aten.add", arguments=(Ref(bare), bias), keywords={}))
    return replace(graph, values=values, nodes=tuple(nodes))


def _product_and_bias(node: Node) -> tuple[str, tuple[object, ...], object] | None:
    arguments = node.arguments
    if node.target == "aten.linear" and len(arguments) == 3 and isinstance(arguments[2], Ref):
        return "aten.linear", arguments[:2], arguments[2]
    plain = all(node.keywords.get(name, 1) == 1 for name in ("alpha", "beta"))
    if node.target == "aten.addmm" and plain:
        return "aten.mm", arguments[1:], arguments[0]
    return None


def _without_dead(graph: TracedGraph) -> TracedGraph:
    """Only what the outputs need, and values that are still there."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    nodes = tuple(reversed(kept))
    used = {name for node in nodes for name in (*node.inputs, *node.outputs)} | set(graph.outputs)
    values = {name: value for name, value in graph.values.items() if name in used or name in graph.inputs}
    return replace(graph, nodes=nodes, values=values)


def _with_gradients(graph: TracedGraph) -> TracedGraph:
    """Marks values whose gradient backward computes: they depend on a parameter and the outputs on them, smoothly."""
    values = dict(graph.values)
    for node in graph.nodes:
        flows = node.target not in _FLAT and any(values[name].gradient for name in node.inputs)
        for name in node.outputs:
            values[name] = replace(values[name], gradient=flows and values[name].dtype in FLOATS)
    wanted = set(graph.outputs)
    for node in reversed(graph.nodes):
        if any(name in wanted and values[name].gradient for name in node.outputs):
            wanted.update(node.inputs)
    marked = {
        name: replace(value, gradient=value.gradient and name in wanted) for name, value in values.items()
    }
    return replace(graph, values=marked)


_FLAT = frozenset(f"aten.{name}" for name in ("detach", "sign", "floor", "round", "ceil"))
"""Functions whose result does not change with their input, or not smoothly."""
