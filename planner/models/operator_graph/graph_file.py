"""Operator graphs in YAML or JSON files, written by hand or kept from an import: calls and shapes; axes follow from them.

inputs: {x: "float32[8,64]"}
parameters: {w: "float32[256,64]"}
values: {y: "float32[8,256]"}
outputs: [y]
operators:
  - {call: aten.linear, arguments: [$x, $w], outputs: [y]}
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from planner.documents import Document, fault, load_document, validate, write_text, write_yaml
from planner.errors import PlannerError, suggest
from planner.models.operator_graph.calls import call
from planner.models.operator_graph.derive import operator_graph
from planner.models.operator_graph.example_inputs import InputShape, parse_input
from planner.models.operator_graph.nodes import Node, Ref, TracedGraph
from planner.models.operator_graph.rules.call import FLOATS
from planner.models.operator_graph.types import DTYPE_BYTES, ElementType, OperatorGraph, Value, ValueKind

_ELEMENT = "element_type:"


def _tensor(text: object) -> InputShape:
    try:
        return parse_input(str(text))
    except PlannerError as error:
        raise ValueError(error.message) from None


Tensors = dict[str, Annotated[InputShape, BeforeValidator(_tensor)]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class OperatorEntry(_Strict):
    """One call. A text ``$x`` in its arguments is the value x, ``element_type:float32`` an element type."""

    call: str
    outputs: list[str] = Field(min_length=1)
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    name: str | None = None
    module: str = ""


class GraphFile(_Strict):
    """A whole file; tensors as ``float32[8,64]``."""

    operators: list[OperatorEntry] = Field(min_length=1)
    outputs: list[str] = Field(min_length=1)
    inputs: Tensors = {}
    parameters: Tensors = {}
    constants: Tensors = {}
    values: Tensors = {}
    name: str | None = None


def read_graph(path: Path, *, block: bool = False) -> OperatorGraph:
    """The operator graph of a file.

    Args:
        block: floating inputs get gradients.

    Raises:
        PlannerError: not such a file; a value without a shape, written twice, or read before it is written.
    """
    return operator_graph(read_traced(path, block=block))


def read_traced(path: Path, *, block: bool = False) -> TracedGraph:
    """The calls of a file; see ``read_graph``."""
    document = load_document(path)
    file = validate(document, GraphFile)
    values: dict[str, Value] = {}
    sections: dict[ValueKind, Tensors] = {
        "input": file.inputs, "parameter": file.parameters, "constant": file.constants, "activation": file.values
    }  # fmt: skip
    for kind, tensors in sections.items():
        for name, shape in tensors.items():
            if name in values:
                raise fault(document, (_SECTIONS[kind], name), "is stated twice")
            gradient = kind in ("parameter", "activation") or (
                block and kind == "input" and shape.dtype in FLOATS
            )
            values[name] = Value(name, shape.shape, shape.dtype, kind, gradient)
    nodes = tuple(_node(entry) for entry in file.operators)
    _check(document, nodes, values, file.outputs)
    for index, node in enumerate(nodes):
        _check_call(document, index, node, values)
    return TracedGraph(file.name or path.stem, values, nodes, tuple(file.inputs), tuple(file.outputs))


_SECTIONS: Mapping[ValueKind, str] = {
    "input": "inputs",
    "parameter": "parameters",
    "constant": "constants",
    "activation": "values",
}


def _node(entry: OperatorEntry) -> Node:
    keywords = {key: _argument(value) for key, value in entry.keywords.items()}
    arguments = tuple(map(_argument, entry.arguments))
    return Node(
        entry.name or entry.outputs[0], entry.call, arguments, tuple(entry.outputs), keywords, entry.module
    )


def _argument(value: object) -> object:
    if isinstance(value, list):
        return tuple(map(_argument, value))
    if isinstance(value, str) and value.startswith("$"):
        return Ref(value[1:])
    if isinstance(value, str) and value.startswith(_ELEMENT):
        return ElementType(value.removeprefix(_ELEMENT))
    return value


def _check(
    document: Document, nodes: tuple[Node, ...], values: Mapping[str, Value], outputs: list[str]
) -> None:
    """Every value has a shape, is written once, and before it is read; names of calls differ."""
    known = {name for name, value in values.items() if value.kind != "activation"}
    names: set[str] = set()
    for index, node in enumerate(nodes):
        at = ("operators", index)
        for name in node.inputs:
            if name not in known:
                word = (
                    "is written by no operator before"
                    if name in values
                    else f"is unknown; {suggest(name, values)}"
                )
                raise fault(document, (*at, "arguments"), f"value {name!r} {word}")
        for element in (part for part in node.arguments if isinstance(part, ElementType)):
            if element.name not in DTYPE_BYTES:
                raise fault(
                    document,
                    (*at, "arguments"),
                    f"unknown element type; {suggest(element.name, DTYPE_BYTES)}",
                )
        for name in node.outputs:
            if name not in values or name in known:
                word = "is written already" if name in known else "has no shape: state it under values"
                raise fault(document, (*at, "outputs"), f"value {name!r} {word}")
        if node.name in names:
            raise fault(document, at, f"another operator is called {node.name!r} too")
        names.add(node.name)
        known.update(node.outputs)
    for index, name in enumerate(outputs):
        if name not in known:
            raise fault(document, ("outputs", index), f"value {name!r} is written by no operator")


def _check_call(document: Document, index: int, node: Node, values: Mapping[str, Value]) -> None:
    """The call gives what the file says, tried on tensors without content; nothing is checked without PyTorch."""
    if not node.target.startswith("aten.") or importlib.util.find_spec("torch") is None:
        return
    import torch

    at = ("operators", index)
    tensors = {
        name: torch.empty(values[name].shape, dtype=getattr(torch, values[name].dtype), device="meta")
        for name in node.inputs
    }
    try:
        made = call(node.target, node.arguments, node.keywords, tensors)
    except PlannerError as error:
        raise fault(document, (*at, "call"), error.message) from None
    except Exception as error:
        if "Could not run" in str(error):  # the function has no form for tensors without content
            return
        lines = str(error).strip().splitlines()
        raise fault(
            document, at, f"{node.target} cannot be called so: {lines[0] if lines else type(error).__name__}"
        ) from None
    results = made if isinstance(made, tuple) else (made,)
    found = [tuple(result.shape) for result in results]
    stated = [values[name].shape for name in node.outputs]
    if found != stated:
        raise fault(
            document, (*at, "outputs"), f"{node.target} gives {_shapes(found)}, not {_shapes(stated)}"
        )


def _shapes(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(str(list(shape)) for shape in shapes)


def write_graph(graph: TracedGraph, path: str | Path) -> None:
    """Keep a traced graph in a YAML (or JSON, by the file's ending) file that ``read_graph`` reads.

    Raises:
        PlannerError: the file cannot be written.
    """
    plain: dict[str, Any] = {"name": graph.name}
    for kind, section in _SECTIONS.items():
        tensors = {name: _text(value) for name, value in graph.values.items() if value.kind == kind}
        if tensors:
            plain[section] = tensors
    plain["outputs"] = list(graph.outputs)
    plain["operators"] = [_entry(node) for node in graph.nodes]
    if Path(path).suffix == ".json":
        import json

        write_text(path, json.dumps(plain, indent=1) + "\n")
    else:
        write_yaml(path, plain)


def _text(value: Value) -> str:
    return f"{value.dtype}[{','.join(map(str, value.shape))}]"


def _entry(node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": node.name,
        "call": node.target,
        "arguments": [_plain(a) for a in node.arguments],
    }
    if node.keywords:
        entry["keywords"] = {key: _plain(value) for key, value in node.keywords.items()}
    entry["outputs"] = list(node.outputs)
    if node.module:
        entry["module"] = node.module
    return entry


def _plain(argument: object) -> object:
    if isinstance(argument, Ref):
        return f"${argument.name}"
    if isinstance(argument, ElementType):
        return f"{_ELEMENT}{argument.name}"
    return [_plain(part) for part in argument] if isinstance(argument, tuple) else argument
