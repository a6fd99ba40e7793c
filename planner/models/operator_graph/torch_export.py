"""PyTorch models as traced graphs, by torch.export (https://docs.pytorch.org/docs/stable/export.html)."""

from __future__ import annotations

import importlib.util
import logging
import operator
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError
from planner.models.operator_graph.nodes import Node, Ref, TracedGraph
from planner.models.operator_graph.rules.call import FLOATS
from planner.models.operator_graph.rules.table import RULES
from planner.models.operator_graph.types import DTYPE_BYTES, ElementType, Value

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram
    from torch.fx import Node as FxNode

_PLACES = frozenset({"device", "layout", "pin_memory", "memory_format", "non_blocking"})
"""Keywords that say where and how a tensor lies, not what it holds."""


@contextmanager
def quiet() -> Iterator[None]:
    """What users' modules print goes to standard error; PyTorch's own logs and warnings go nowhere: errors say it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def exported_module(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> ExportedProgram:
    """A module's graph for inputs of these shapes, in the mode (training or not) that the module is in.

    Raises:
        PlannerError: torch.export cannot capture it (data-dependent control flow, dynamic shapes, ...); its own first line.
    """
    import torch

    try:
        with quiet():
            return torch.export.export(module, inputs, strict=False)
    except (Exception, SystemExit) as error:
        raise PlannerError(
            f"torch.export cannot capture {type(module).__name__}: {_first_line(error)}"
        ) from None


def load_exported(path: Path) -> ExportedProgram:
    """A saved ExportedProgram.

    Raises:
        PlannerError: missing, or not such a file.
    """
    import torch

    try:
        with quiet():
            return torch.export.load(path)
    except Exception as error:
        raise PlannerError(
            f"not an ExportedProgram that this PyTorch reads: {_first_line(error)}", file=path
        ) from None


def module_of(text: str) -> Any:
    """What ``model.py:make_module`` returns when called: a module, or a module and its example inputs.

    Raises:
        PlannerError: no such file or function, or it fails.
    """
    file, _, function = text.rpartition(":")
    path = Path(file)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PlannerError("not a Python file", file=path)
    loaded = importlib.util.module_from_spec(spec)
    try:
        with quiet():
            spec.loader.exec_module(loaded)
    except (Exception, SystemExit) as error:
        raise PlannerError(
            f"cannot be imported: {type(error).__name__}: {_first_line(error)}", file=path
        ) from None
    make = getattr(loaded, function, None)
    if not callable(make):
        raise PlannerError(f"has no function {function!r}", file=path)
    try:
        with quiet():
            return make()
    except (Exception, SystemExit) as error:
        raise PlannerError(
            f"{function}() fails: {type(error).__name__}: {_first_line(error)}", file=path
        ) from None


def traced(program: ExportedProgram, name: str, *, block: bool = False) -> TracedGraph:
    """The calls of an exported program; functions without a rule are taken apart where PyTorch knows how.

    Args:
        name: of the graph.
        block: backward computes gradients of floating inputs.

    Raises:
        PlannerError: a shape is symbolic.
    """
    program = _functional(program)
    leaves = _leaves(program)
    values: dict[str, Value] = {}
    names: dict[str, str] = {}
    inputs = []
    nodes: list[Node] = []
    outputs: tuple[str, ...] = ()
    for node in program.graph.nodes:
        if node.op == "placeholder":
            kind, public = leaves[node.name]
            names[node.name] = public
            if "val" in node.meta and hasattr(node.meta["val"], "shape"):
                values[public] = _value(public, node.meta["val"], kind, block)
                inputs += [public] if kind == "input" else []
        elif node.op == "output":
            outputs = tuple(names[name] for name in program.graph_signature.user_outputs if name in names)
        elif node.target is operator.getitem:
            source, index = node.args
            names[node.name] = f"{source.name}.{index}"
        else:
            made = _results(node, values)
            names[node.name] = made[0]
            nodes.append(_node(node, made, names))
    return TracedGraph(name, values, tuple(nodes), tuple(inputs), outputs)


def _functional(program: ExportedProgram) -> ExportedProgram:
    """Without writes in place, and without functions that have no rule but a decomposition."""
    import torch

    with quiet():
        program = program.run_decompositions({})
        unknown = {
            node.target
            for node in program.graph.nodes
            if node.op == "call_function" and _name(node.target) not in RULES
        }
        table = torch.export.default_decompositions()
        known = {target: table[target] for target in unknown if target in table}
        return program.run_decompositions(known) if known else program


def _leaves(program: ExportedProgram) -> dict[str, tuple[Any, str]]:
    """Placeholder -> its kind and its public name: of the parameter in the model, of the input."""
    from torch.export.graph_signature import InputKind

    kinds = {InputKind.PARAMETER: "parameter", InputKind.USER_INPUT: "input"}
    return {
        spec.arg.name: (kinds.get(spec.kind, "constant"), spec.target or spec.arg.name)
        for spec in program.graph_signature.input_specs
    }


def _results(node: FxNode, values: dict[str, Value]) -> tuple[str, ...]:
    """Names of what a call writes; their values are added."""
    result = node.meta.get("val")
    if isinstance(result, (tuple, list)):
        names = tuple(f"{node.name}.{index}" for index in range(len(result)))
    else:
        names, result = (node.name,), (result,)
    for name, tensor in zip(names, result, strict=True):
        if type(tensor).__name__ in ("SymInt", "SymFloat", "SymBool"):
            raise PlannerError(
                f"{_name(node.target)} reads a number out of a tensor: shapes and branches must not need data"
            )
        if hasattr(tensor, "shape"):
            values[name] = _value(name, tensor, "activation")
    return tuple(name for name in names if name in values) or names


def _value(name: str, tensor: Any, kind: Any, block: bool = False) -> Value:
    shape = tuple(tensor.shape)
    if not all(isinstance(size, int) for size in shape):
        raise PlannerError(f"{name} has a symbolic shape {tuple(map(str, shape))}: export with fixed shapes")
    dtype = _dtype(tensor.dtype)
    trained = kind == "parameter" or (block and kind == "input" and dtype in FLOATS)
    return Value(name, shape, dtype, kind, trained)


def _dtype(dtype: object) -> str:
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPE_BYTES:
        raise PlannerError(f"element type {name} is not known")
    return name


def _node(node: FxNode, outputs: tuple[str, ...], names: Mapping[str, str]) -> Node:
    keywords = {key: _argument(value, names) for key, value in node.kwargs.items() if key not in _PLACES}
    arguments = tuple(_argument(value, names) for value in node.args)
    return Node(node.name, _name(node.target), arguments, outputs, keywords, _module(node))


def _name(target: object) -> str:
    """``aten.linear`` of an overload; other callables by their own name."""
    packet = getattr(target, "overloadpacket", None)
    return str(packet if packet is not None else getattr(target, "__name__", target))


def _argument(value: object, names: Mapping[str, str]) -> object:
    import torch

    if isinstance(value, torch.fx.Node):
        return Ref(names[value.name])
    if isinstance(value, (list, tuple)):
        return tuple(_argument(part, names) for part in value)
    if isinstance(value, torch.dtype):
        return ElementType(_dtype(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def _module(node: FxNode) -> str:
    stack: Iterable[Any] = (node.meta.get("nn_module_stack") or {}).values()
    paths = [str(entry[0]) for entry in stack]
    return paths[-1] if paths else ""


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
