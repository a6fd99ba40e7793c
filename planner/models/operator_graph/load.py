"""An operator graph from whatever the user has: a Python file, an exported program, an ONNX model, a graph file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from planner.errors import PlannerError
from planner.models.operator_graph.derive import operator_graph
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
    if function:
        from planner.models.operator_graph.user_module import user_module

        return operator_graph(user_module(text, inputs, block=block).traced)
    if inputs:
        raise PlannerError(f"{path} states its own inputs: leave --input out", field="input")
    if suffix == ".pt2":
        from planner.models.operator_graph.torch_export import load_exported, traced

        return operator_graph(traced(load_exported(Path(path)), Path(path).stem, block=block))
    if suffix == ".onnx":
        from planner.models.operator_graph.onnx_import import traced_onnx

        return operator_graph(traced_onnx(Path(path), block=block))
    if suffix in (".yaml", ".yml", ".json"):
        from planner.models.operator_graph.graph_file import read_graph

        return read_graph(Path(path), block=block)
    raise PlannerError(f"found {text!r}; accepted: {_FORMS}")
