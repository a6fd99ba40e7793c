"""Repeated blocks, found in the structure alone: a model of 80 equal layers has one layer's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from planner.models.operator_graph.types import GraphOperator, Value


def representatives(operators: Sequence[GraphOperator], values: Mapping[str, Value]) -> dict[str, str]:
    """Operator -> the operator at its place in the first copy of its block, for all copies but the first.

    Looks for the run of operators that repeats most of the list at one distance, takes it, and goes on in what is left
    before and after. Operators that copy each other have equal functions, axes and shapes.
    """
    codes: dict[object, int] = {}
    marks = np.array([codes.setdefault(_signature(each, values), len(codes)) for each in operators], np.int64)
    products = np.cumsum([0, *(_has_weight(each, values) for each in operators)])
    found: dict[str, str] = {}
    pending = [(0, len(operators))]
    while pending:
        low, high = pending.pop()
        run = _longest_run(marks[low:high], products[low : high + 1])
        if run is None:
            continue
        start, period, copies = run
        first = low + start
        for index in range(first + period, first + period * copies):
            found[operators[index].name] = operators[first + (index - first) % period].name
        pending += [(low, first), (first + period * copies, high)]
    return found


def _signature(operator: GraphOperator, values: Mapping[str, Value]) -> object:
    """What two operators must share to be copies of each other."""
    tensors = tuple(
        (
            value.shape,
            value.dtype,
            value.kind in ("parameter", "constant") and value.kind,
            value.gradient,
            value.part,
        )
        for value in (values[name] for name in (*operator.inputs, *operator.outputs))
    )
    order = {name: index for index, name in enumerate((*operator.inputs, *operator.outputs))}
    return (
        operator.target,
        tensors,
        operator.input_dims,
        operator.output_dims,
        tuple(operator.axes.items()),
        tuple(order[name] for name in operator.saves if name in order),
        repr((operator.arguments, sorted(operator.keywords.items()))),
    )


def _has_weight(operator: GraphOperator, values: Mapping[str, Value]) -> bool:
    """A product with a trained weight."""
    return operator.kind == "matmul" and any(values[name].kind == "parameter" for name in operator.inputs)


def _longest_run(marks: np.ndarray, products: np.ndarray) -> tuple[int, int, int] | None:
    """Start, period and copies of the repetition that explains most places; None if nothing repeats.

    A period is worth what it saves, its places times the copies but one; of equal worth the shortest period counts. A
    block has at least two products with weights: one alone must stay free to differ from the next, as column and row
    splits alternate.

    Args:
        marks: one number per operator, equal for copies.
        products: how many products with weights stand before each place, and at the end.
    """
    best: tuple[int, int, int, int] | None = None
    for period in range(2, len(marks) // 2 + 1):
        same = marks[period:] == marks[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            copies = 1 + int(end - start) // period
            worth = (copies - 1) * period
            weights = products[start + period] - products[start]
            if copies > 1 and weights > 1 and (best is None or worth > best[0]):
                best = (worth, int(start), period, copies)
    return None if best is None else best[1:]
