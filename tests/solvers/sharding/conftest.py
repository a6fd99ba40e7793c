"""Graphs of the examples, traced once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.types import OperatorGraph


@pytest.fixture(scope="session")
def example(root: Path) -> Callable[[str], OperatorGraph]:
    """Name of a file in examples/operator_graphs -> its graph."""
    known: dict[str, OperatorGraph] = {}

    def graph(name: str) -> OperatorGraph:
        if name not in known:
            known[name] = load_graph(str(root / "examples" / "operator_graphs" / f"{name}.py:make_module"))
        return known[name]

    return graph
