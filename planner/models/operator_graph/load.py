"""An operator graph from whatever the user has: a Python file, an exported program, an ONNX model, a graph file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.errors import PlannerError
from planner.models.operator_graph.derive import operator_graph
from planner.models.operator_graph.nodes import TracedGraph
from planner.models.operator_graph.types import OperatorGraph

_FORMS = "MODEL.py:FUNCTION, FILE.pt2, FILE.onnx, or a graph in FILE.yaml or FILE.json"


def load_graph(text: str, inputs: Sequence[str] = (), *, block: bool = False) -> OperatorGraph:
    """The operator graph of a model.

    Args:
        text: ``MODEL.py:FUNCTION`` (called without arguments, gives a torch module, or a module and a tuple of example
            inputs), ``FILE.pt2`` (torch.export.save), ``FILE.onnx``, or ``FILE.yaml`` / ``.json`` (``write_graph``).
        inputs: for Python files, one text per input, ``int64[8,128]``; not needed where the function gives inputs.
        block: floating inputs come from trained layers before this model, so backward computes their gradients.

    Raises:
        PlannerError: no such file, another form, something that cannot be captured; it names what.
    """
    path, _, function = text.rpartition(":") if ".py:" in text else (text, "", "")
    suffix = Path(path).suffix.lower()
    if not function and suffix not in _SUFFIXES:
        raise PlannerError(f"found {text!r}; accepted: {_FORMS}")
    if inputs and not function:
        raise PlannerError(f"{path} states its own inputs: leave --input out", field="input")
    if not Path(path).is_file():
        raise PlannerError(
            "is a directory; a file is accepted" if Path(path).is_dir() else "no such file", file=path
        )
    graph = operator_graph(_traced(text, function, suffix, inputs, block))
    if not graph.operators:
        raise PlannerError("nothing to shard: no output depends on an input", file=path)
    return graph


_SUFFIXES = (".pt2", ".onnx", ".yaml", ".yml", ".json")


def _traced(text: str, function: str, suffix: str, inputs: Sequence[str], block: bool) -> TracedGraph:
    if function:
        from planner.models.operator_graph.user_module import user_module

        return user_module(text, inputs, block=block).traced
    path = Path(text)
    if suffix == ".pt2":
        from planner.models.operator_graph.torch_export import load_exported, traced

        return traced(load_exported(path), path.stem, block=block)
    if suffix == ".onnx":
        from planner.models.operator_graph.onnx_import import traced_onnx

        return traced_onnx(path, block=block)
    from planner.models.operator_graph.graph_file import read_traced

    return read_traced(path, block=block)
