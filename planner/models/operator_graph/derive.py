"""From traced calls to operators over named axes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from planner.models.operator_graph.nodes import Node, Ref, TracedGraph, with_parts
from planner.models.operator_graph.repeats import representatives
from planner.models.operator_graph.rewrite import simplified
from planner.models.operator_graph.rules.call import Call
from planner.models.operator_graph.rules.table import rule_of
from planner.models.operator_graph.types import GraphOperator, Operand, OperatorGraph, Value


def operator_graph(traced: TracedGraph) -> OperatorGraph:
    """The operators of a traced graph: rewritten, each with the axes of its rule, repeated blocks found."""
    graph = simplified(traced)
    reasons: dict[str, list[str]] = {}
    operators = tuple(_operator(node, graph, reasons) for node in graph.nodes)
    unknown = tuple(
        f"{reason}: whole on every rank ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for reason, names in reasons.items()
    )
    return OperatorGraph(
        graph.name,
        graph.values,
        operators,
        graph.inputs,
        graph.outputs,
        representatives(operators, graph.values),
        (*graph.notes, *unknown),
    )


def _operator(node: Node, graph: TracedGraph, reasons: dict[str, list[str]]) -> GraphOperator:
    positions = count()
    node_inputs = node.inputs
    node = with_parts(node, Ref, lambda _: Operand(next(positions)))
    inputs = tuple(graph.values[name] for name in node_inputs)
    outputs = tuple(graph.values[name] for name in node.outputs)
    call = Call(node.target, inputs, outputs, node.arguments, node.keywords)
    rule, lengths, reason = rule_of(call)
    if reason is not None:
        reasons.setdefault(reason, []).append(node.name)
    used = {axis for dims in (*rule.input_dims, *rule.output_dims) for dim in dims for axis in dim}
    trained = any(value.gradient for value in outputs)
    return GraphOperator(
        node.name,
        rule.kind,
        node.target,
        node_inputs,
        tuple(value.name for value in outputs),
        {axis: size for axis, size in lengths.items() if axis in used},
        rule.input_dims,
        rule.output_dims,
        rule.whole,
        rule.partial,
        rule.inner_sums,
        rule.flops,
        tuple(dict.fromkeys(_names(rule.saves))) if trained else (),
        rule.causal,
        node.arguments,
        node.keywords,
        node.module,
    )


def _names(values: tuple[Value, ...]) -> Iterator[str]:
    return (value.name for value in values)
