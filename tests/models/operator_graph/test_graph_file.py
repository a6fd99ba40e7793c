"""Graphs in files: what is written is read back; faults name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.models.operator_graph.derive import operator_graph
from planner.models.operator_graph.graph_file import read_graph, write_graph
from planner.models.operator_graph.user_module import user_module

MLP = """\
inputs: {x: "float32[8,64]"}
parameters: {up: "float32[256,64]", down: "float32[64,256]"}
values: {h: "float32[8,256]", a: "float32[8,256]", y: "float32[8,64]"}
outputs: [y]
operators:
  - {call: aten.linear, arguments: [$x, $up], outputs: [h]}
  - {call: aten.gelu, arguments: [$h], outputs: [a]}
  - {call: aten.linear, arguments: [$a, $down], outputs: [y]}
"""


def test_what_is_written_is_read(tmp_path: Path) -> None:
    traced = user_module("examples/operator_graphs/gpt2.py:make_module").traced
    first = operator_graph(traced)
    for ending in ("yaml", "json"):
        file = tmp_path / f"gpt2.{ending}"
        write_graph(traced, file)
        again = read_graph(file)
        assert again.operators == first.operators
        assert dict(again.values) == dict(first.values)
        assert again.representatives == first.representatives


def test_axes_of_a_hand_written_graph(tmp_path: Path) -> None:
    file = tmp_path / "mlp.yaml"
    file.write_text(MLP)
    graph = read_graph(file)
    up, gelu, down = graph.operators
    assert graph.name == "mlp"
    assert set(up.splittable) == {"d0", "in", "out"}
    assert up.axes == {"d0": 8, "in": 64, "out": 256}
    assert up.flops == 2 * 8 * 64 * 256
    assert gelu.kind == "elementwise"
    assert graph.values["up"].gradient
    assert not graph.values["x"].gradient
    assert read_graph(file, block=True).values["x"].gradient
    assert down.saves == ("a", "down")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$x, $up", "$x, $upp", r"operators\[0\].arguments: value 'upp' is unknown; did you mean 'up'"),
        ("$x, $up", "$a, $up", "'a' is written by no operator before"),
        ("outputs: [a]}", "outputs: [h]}", "'h' is written already"),
        ("outputs: [a]}", "outputs: [b]}", "'b' has no shape"),
        ("outputs: [y]\n", "outputs: [q]\n", "'q' is written by no operator"),
        ('h: "float32[8,256]", ', 'x: "float32[8,64]", h: "float32[8,256]", ', "is stated twice"),
        ("float32[8,64]", "float99[8,64]", "unknown element type"),
        ("call: aten.gelu", "cal: aten.gelu", "unknown key; did you mean 'call'"),
        ("[$x, $up]", "[$x]", r"operators\[0\]: aten.linear cannot be called so"),
        ("[$x, $up]", "[$up, $x]", r"aten.linear gives \[256, 8\], not \[8, 256\]"),
        ("aten.gelu", "aten.nope", "aten.nope is no function of this PyTorch"),
        ("arguments: [$h]", "name: y, arguments: [$h]", "another operator is called 'y'"),
    ],
)
def test_faults_name_the_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(MLP.replace(old, new, 1))
    with pytest.raises(PlannerError, match=message) as found:
        read_graph(file)
    assert str(file) in str(found.value)
