"""Repeated blocks by structure alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from planner.models.operator_graph.graph_file import read_graph
from planner.models.operator_graph.types import OperatorGraph


def chain(folder: Path, widths: Sequence[int], functions: str = "gelu") -> OperatorGraph:
    """Linear layers of these widths, each followed by a function."""
    parameters = {f"w{i}": f"float32[{b},{a}]" for i, (a, b) in enumerate(pairwise(widths))}
    values, operators, last = {}, [], "x"
    for index, width in enumerate(widths[1:]):
        values |= {f"h{index}": f"float32[8,{width}]", f"a{index}": f"float32[8,{width}]"}
        operators.append(f"  - {{call: aten.linear, arguments: [${last}, $w{index}], outputs: [h{index}]}}")
        operators.append(f"  - {{call: aten.{functions}, arguments: [$h{index}], outputs: [a{index}]}}")
        last = f"a{index}"
    file = folder / "chain.yaml"
    file.write_text(
        f"inputs: {{x: 'float32[8,{widths[0]}]'}}\nparameters: {parameters}\nvalues: {values}\noutputs: [{last}]\n"
        "operators:\n" + "\n".join(operators) + "\n"
    )
    return read_graph(file, block=True)


def test_blocks_of_two_products_repeat(tmp_path: Path) -> None:
    graph = chain(tmp_path, [4, *([16, 4] * 5)])
    assert graph.representatives == {f"{kind}{i}": f"{kind}{i % 2}" for i in range(2, 10) for kind in "ha"}


def test_equal_layers_stay_free_to_alternate(tmp_path: Path) -> None:
    """Four equal layers: column and row splits alternate, so the period is two layers, not one."""
    graph = chain(tmp_path, [8] * 5)
    assert graph.representatives == {"h2": "h0", "a2": "a0", "h3": "h1", "a3": "a1"}
    assert chain(tmp_path, [8] * 3).representatives == {}


@given(widths=st.lists(st.sampled_from([4, 8]), min_size=2, max_size=12))
def test_copies_look_alike(widths: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        graph = chain(Path(folder), widths)
    operators = {operator.name: operator for operator in graph.operators}
    for copy, first in graph.representatives.items():
        a, b = operators[copy], operators[first]
        assert (a.target, a.axes, a.input_dims) == (b.target, b.axes, b.input_dims)
        assert [graph.values[v].shape for v in a.inputs] == [graph.values[v].shape for v in b.inputs]
        assert first not in graph.representatives
