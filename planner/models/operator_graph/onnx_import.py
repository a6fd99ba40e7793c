"""ONNX models as traced graphs, through the ``onnx`` package and its shape inference."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.models.operator_graph.nodes import Node, TracedGraph
from planner.models.operator_graph.onnx_operators import OnnxCall, UnknownOperatorError, aten_call
from planner.models.operator_graph.rules.call import FLOATS
from planner.models.operator_graph.types import ElementType, Value

_WEIGHTED = frozenset(
    ("MatMul", "Gemm", "Conv", "Einsum", "Gather", "LayerNormalization", "RMSNormalization")
)
"""Operators whose floating initializers are trained; so are vectors anywhere (biases)."""

_UNNAMED = re.compile(r"(val|_val|const|onnx::|/|lifted)")
"""Names that exporters make up: of tables and masks that no parameter is."""

_SMALL = 4096
"""Constants up to so many elements are read, as lengths and axes."""

_STATIC = frozenset(("Shape", "Size", "Constant", "ConstantOfShape"))
"""Operators whose result fixed shapes fix."""


def open_onnx(path: Path) -> Any:
    """The file as the onnx package has it, with the shape of every tensor inferred.

    Raises:
        PlannerError: no such file, not ONNX, the package is missing, or shapes contradict each other.
    """
    if not path.is_file():
        raise PlannerError("no such file", file=path)
    if importlib.util.find_spec("onnx") is None:
        raise PlannerError(
            "the onnx package is not installed; pip install 'distributed-training-planner[onnx]'"
        )
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise PlannerError(
            f"not an ONNX model that can be read: {lines[0] if lines else error!r}", file=path
        ) from None


def traced_onnx(path: Path, *, block: bool = False) -> TracedGraph:
    """The calls of an ONNX model; see ``load_graph``.

    Floating initializers of products, look-ups and norms, vectors and those with a name of their own count as trained.

    Raises:
        PlannerError: see ``open_onnx``; or a shape is symbolic or unknown.
    """
    model = open_onnx(path)
    graph = model.graph
    constants = _constants(graph)
    values = _values(graph, path, block)
    nodes = []
    reasons: Counter[str] = Counter()
    for number, node in enumerate(graph.node):
        if node.op_type == "Constant":
            continue
        nodes.append(_node(node, number, values, constants, reasons))
    inputs = tuple(each.name for each in graph.input if values[each.name].kind == "input")
    notes = tuple(f"{reason} ({count} times)" for reason, count in reasons.items())
    return TracedGraph(
        path.stem, values, tuple(nodes), inputs, tuple(each.name for each in graph.output), notes
    )


def stored_arrays(path: Path) -> dict[str, Any]:
    """Initializers and constants of an ONNX file as numpy arrays, by name."""
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in _all_stored(open_onnx(path).graph)}


def _all_stored(graph: Any) -> list[Any]:
    """Initializers, and the tensors of Constant nodes."""
    return [*graph.initializer, *(_stored(node) for node in graph.node if node.op_type == "Constant")]


def _constants(graph: Any) -> dict[str, Any]:
    """Contents of small constant tensors as lists."""
    from onnx import numpy_helper

    small = [(tensor.name, tensor) for tensor in _all_stored(graph) if _elements(tensor.dims) <= _SMALL]
    return {name: numpy_helper.to_array(tensor).tolist() for name, tensor in small}


def _stored(node: Any) -> Any:
    """The tensor of a Constant node, under the name of its output."""
    from onnx import helper, numpy_helper

    value = helper.get_attribute_value(node.attribute[0])
    if node.attribute[0].name == "value":
        tensor = type(value)()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        return tensor
    import numpy as np

    return numpy_helper.from_array(np.asarray(value), node.output[0])


def _elements(lengths: Any) -> int:
    count = 1
    for length in lengths:
        count *= length
    return count


def _values(graph: Any, path: Path, block: bool) -> dict[str, Value]:
    """Every tensor: initializers and constants, then what the graph's inputs and shape inference say."""
    trained = _trained(graph)
    values: dict[str, Value] = {}
    for tensor in _all_stored(graph):
        kind, dtype = (
            ("parameter" if tensor.name in trained else "constant"),
            _dtype(tensor.data_type, tensor.name, path),
        )
        values[tensor.name] = Value(tensor.name, tuple(tensor.dims), dtype, kind, kind == "parameter")  # type: ignore[arg-type]
    entering = {each.name for each in graph.input}
    for each in [*graph.input, *graph.value_info, *graph.output]:
        if each.name in values:
            continue
        made = _dtype(each.type.tensor_type.elem_type, each.name, path)
        inward = each.name in entering
        gradient = inward and block and made in FLOATS
        values[each.name] = Value(
            each.name, _shape(each, path), made, "input" if inward else "activation", gradient
        )
    missing = [name for node in graph.node for name in node.output if name and name not in values]
    if missing:
        raise PlannerError(
            f"the shape of {missing[0]} cannot be inferred: export with fixed shapes", file=path
        )
    return values


def _shape(each: Any, path: Path) -> tuple[int, ...]:
    lengths = []
    for dim in each.type.tensor_type.shape.dim:
        if not dim.HasField("dim_value"):
            name = dim.dim_param or "?"
            raise PlannerError(
                f"{each.name} has a length that is not fixed ({name}): export with fixed shapes", file=path
            )
        lengths.append(int(dim.dim_value))
    return tuple(lengths)


def _dtype(code: int, name: str, path: Path) -> str:
    """PyTorch's name of an ONNX element type."""
    from onnx import TensorProto

    known = {
        "FLOAT": "float32",
        "DOUBLE": "float64",
        "FLOAT16": "float16",
        "BFLOAT16": "bfloat16",
        "BOOL": "bool",
    }
    found: str = TensorProto.DataType.Name(code)
    if found not in known and found not in ("INT64", "INT32", "INT16", "INT8", "UINT8"):
        raise PlannerError(f"{name} has element type {found}, which is not known", file=path)
    return known.get(found, found.lower())


def _trained(graph: Any) -> set[str]:
    """Names of initializers that are parameters."""
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
    weighted = {name for node in graph.node if node.op_type in _WEIGHTED for name in node.input}
    return {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type in floats
        and _elements(tensor.dims) > 1
        and (tensor.name in weighted or len(tensor.dims) == 1 or not _UNNAMED.match(tensor.name))
    }


def _node(
    node: Any, number: int, values: Mapping[str, Value], constants: Mapping[str, Any], reasons: Counter[str]
) -> Node:
    from onnx import helper

    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    outputs = tuple(name for name in node.output if name)
    name = node.name or f"{node.op_type}_{number}"
    module = _module(node)
    call = OnnxCall(
        node.op_type,
        tuple(node.input),
        tuple(values[each] for each in outputs),
        attributes,
        values,
        constants,
    )
    if node.op_type in _STATIC:
        return Node(name, f"onnx.{node.op_type}", (), outputs, module=module)
    try:
        target, arguments = aten_call(call)
    except UnknownOperatorError as error:
        reasons[f"ONNX {node.op_type} is known only to this file: {error}"] += 1
        target, arguments = f"onnx.{node.op_type}", call.refs
    keywords: dict[str, object] = {}
    if target == "aten._to_copy" and isinstance(arguments[1], ElementType):
        arguments, keywords = arguments[:1], {"dtype": arguments[1]}
    return Node(name, target, arguments, outputs, keywords, module)


def _module(node: Any) -> str:
    """Path of the module, where PyTorch's exporter left it."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            paths = re.findall(r"'([^']*)'", entry.value)
            return paths[-2] if len(paths) > 1 else ""
    return ""
