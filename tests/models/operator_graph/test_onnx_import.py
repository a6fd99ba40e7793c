"""ONNX models: the same graphs as PyTorch's own export gives, and the same numbers as ONNX's reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from planner.errors import PlannerError
from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.onnx_import import traced_onnx
from planner.models.operator_graph.torch_export import module_of
from planner.validation.sharding.source import open_source, random_inputs

EXAMPLES = Path("examples/operator_graphs")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """GPT-2 and ViT written by torch.onnx.export."""
    folder = tmp_path_factory.mktemp("onnx")
    files = {}
    for name in ("gpt2", "vit"):
        module, inputs = module_of(f"{EXAMPLES / name}.py:make_module")
        for number, parameter in enumerate(module.parameters()):  # the exporter stores equal tensors once
            parameter.data.normal_(std=0.1, generator=torch.Generator().manual_seed(number))
        files[name] = folder / f"{name}.onnx"
        torch.onnx.export(module.eval(), inputs, dynamo=True, verbose=False).save(str(files[name]))  # type: ignore[union-attr]
    return files


@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_exported_models_are_the_same_graphs(exported: dict[str, Path], name: str) -> None:
    ours, theirs = load_graph(str(exported[name])), load_graph(f"{EXAMPLES / name}.py:make_module")
    assert all(operator.kind != "opaque" for operator in ours.operators)

    def products(graph):  # type: ignore[no-untyped-def]
        """FLOPs of products with weights; attention is written out in the ONNX file."""
        weights = {name for name, value in graph.values.items() if value.kind == "parameter"}
        return sorted(
            each.flops for each in graph.operators if each.flops and weights.intersection(each.inputs)
        )

    assert products(ours) == products(theirs)
    trained = sum(value.elements for value in ours.values.values() if value.kind == "parameter")
    expected = sum(value.elements for value in theirs.values.values() if value.kind == "parameter")
    # the exporter stores the tied table twice, once transposed, and the class token once per sample
    assert trained == expected + (128 * 64 if name == "gpt2" else 7 * 64)
    assert len(ours.representatives) > 0.35 * len(ours.operators)
    assert sum("is cut into 3 weights" in note for note in ours.notes) == 2


@pytest.mark.parametrize("name", ["gpt2", "vit"])
def test_calls_give_what_the_reference_gives(exported: dict[str, Path], name: str) -> None:
    from onnx.reference import ReferenceEvaluator

    source = open_source(str(exported[name]))
    inputs = random_inputs(source.graph)
    (ours,) = source.forward(source.tensors, list(inputs.values()))
    reference = ReferenceEvaluator(str(exported[name]))
    (theirs,) = reference.run(None, {key: tensor.numpy() for key, tensor in inputs.items()})
    assert float(ours) == pytest.approx(float(theirs), rel=1e-5)


def model(
    nodes: list[onnx.NodeProto], shapes: dict[str, list[int | str]], constants: dict[str, np.ndarray]
) -> onnx.ModelProto:
    """A model from x to y."""
    make = helper.make_tensor_value_info
    stored = [onnx.numpy_helper.from_array(array, key) for key, array in constants.items()]
    graph = helper.make_graph(
        nodes,
        "small",
        [make("x", TensorProto.FLOAT, shapes["x"])],
        [make("y", TensorProto.FLOAT, shapes["y"])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def saved(folder: Path, made: onnx.ModelProto) -> Path:
    onnx.save(made, folder / "small.onnx")
    return folder / "small.onnx"


def test_unknown_operators_stay_whole_and_are_named(tmp_path: Path) -> None:
    made = model(
        [helper.make_node("Selu", ["x"], ["a"]), helper.make_node("Hardmax", ["a"], ["y"])],
        {"x": [4, 8], "y": [4, 8]},
        {},
    )
    graph = load_graph(str(saved(tmp_path, made)))
    assert [operator.kind for operator in graph.operators] == ["opaque", "opaque"]
    assert not any(operator.splittable for operator in graph.operators)
    assert {"Selu" in note or "Hardmax" in note for note in graph.notes} == {True}


def test_shapes_that_vary_are_refused(tmp_path: Path) -> None:
    made = model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["batch", 8], "y": ["batch", 8]}, {})
    with pytest.raises(PlannerError, match=r"x has a length that is not fixed \(batch\)"):
        load_graph(str(saved(tmp_path, made)))
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(PlannerError, match="not an ONNX model"):
        load_graph(str(tmp_path / "bad.onnx"))


def test_constants_become_lengths_and_axes(tmp_path: Path) -> None:
    weight = np.ones((8, 6), np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"]),
        helper.make_node("Reshape", ["a", "shape"], ["c"]),
        helper.make_node("ReduceSum", ["c", "axes"], ["d"], keepdims=0),
        helper.make_node("Slice", ["d", "start", "end", "axes"], ["y"]),
    ]
    lengths = {"shape": [4, 2, 3], "axes": [1], "start": [0], "end": [2]}
    constants = {"w": weight, "b": weight[0], **{key: np.array(value) for key, value in lengths.items()}}
    graph = traced_onnx(saved(tmp_path, model(nodes, {"x": [4, 8], "y": [4, 2]}, constants)))
    assert [node.target for node in graph.nodes] == ["aten.addmm", "aten.view", "aten.sum", "aten.slice"]
    assert graph.nodes[1].arguments[1:] == ((4, 2, 3),)
    assert graph.nodes[2].arguments[1:] == ((1,), False)
    assert graph.nodes[3].arguments[1:] == (1, 0, 2)
    assert {name for name, value in graph.values.items() if value.kind == "parameter"} == {"w", "b"}
