"""Every model's blocks are well formed: names resolve, einsum axes close, operators and blocks form directed acyclic graphs."""

from __future__ import annotations

import networkx
import pytest

from planner.models.build import build_graph
from planner.models.catalogue import list_models, load_model
from planner.models.graph import Block, ModelGraph, Operator
from planner.models.spec import ModelSpec

MODULES = {
    "core_attention",
    "attention",
    "norm",
    "mlp",
    "activation",
    "moe",
    "moe_activation",
    "moe_combine",
    "shared_experts",
    "mla_up_proj",
    "embedding",
    "head",
    "loss",
    "ssm",
    "residual",
    "router",
}
HYBRID = ModelSpec(
    name="hybrid",
    family="hybrid",
    layers=8,
    hidden=64,
    heads=4,
    kv_heads=2,
    ffn_hidden=128,
    gated_mlp=True,
    vocab=100,
    layer_pattern=("mamba2", "mamba2", "mamba2", "global"),
    mamba2={"state": 16, "head_dim": 16, "mlp": True},  # type: ignore[arg-type]
    moe={"experts": 4, "topk": 2, "moe_ffn": 32, "every": 2},  # type: ignore[arg-type]
)


def graph_of(name: str) -> ModelGraph:
    return build_graph(HYBRID) if name == "hybrid" else load_model(name)[1]


MODELS = [*list_models(), "hybrid"]


@pytest.mark.parametrize("name", MODELS)
def test_every_name_exists(name: str) -> None:
    for block in graph_of(name).blocks.values():
        names = [operator.name for operator in block.operators]
        assert len(set(names)) == len(names)
        written = {block.input, *block.side_inputs}
        used = set()
        for operator in block.operators:
            assert set(operator.inputs) <= written, f"{block.name}.{operator.name} reads before it is written"
            written.add(operator.output)
            assert set(operator.saves) <= written
            assert operator.module in MODULES
            used |= set(operator.parameters)
        assert block.output in written
        assert set(block.tensors) == written
        assert set(block.parameters) == used


@pytest.mark.parametrize("name", MODELS)
def test_einsum_axes_close(name: str) -> None:
    for block in graph_of(name).blocks.values():
        for operator in block.operators:
            if operator.kind == "einsum":
                check_einsum(block, operator)


def check_einsum(block: Block, operator: Operator) -> None:
    (source,) = (block.tensors[name] for name in operator.inputs)
    target = block.tensors[operator.output]
    weight = block.parameters[operator.parameters[0]]
    sizes: dict[str, int | None] = {}
    for axis in (*source.axes, *weight.axes, *target.axes):
        assert sizes.setdefault(axis.name, axis.size) == axis.size, (
            f"{operator.name}: two sizes of {axis.name}"
        )
    contracted = set(source.axis_names) & set(weight.axis_names)
    assert contracted, operator.name
    assert not contracted & set(target.axis_names)
    kept = set(source.axis_names) - contracted
    grown = set(weight.axis_names) - contracted - {"experts"}
    assert set(target.axis_names) == kept | grown
    assert operator.saves == operator.inputs
    for bias in operator.parameters[1:]:
        expected = set(weight.axis_names) - contracted
        assert set(block.parameters[bias].axis_names) == expected
    if "experts" in weight.axis_names:
        assert "expert_tokens" in source.axis_names


@pytest.mark.parametrize("name", MODELS)
def test_attention_reads_query_key_value(name: str) -> None:
    for block in graph_of(name).blocks.values():
        for operator in block.operators:
            if operator.kind != "attention":
                continue
            query, key, value = (block.tensors[i] for i in operator.inputs)
            assert query.axis_names == ("batch", "sequence", "heads", "head_dim")
            assert key.axis_names[1] in ("sequence", "sequence_kv")
            assert key.axis_names[2:] == ("kv_heads", "head_dim")
            assert query.axes[-1] == key.axes[-1]
            assert value.axes[:3] == key.axes[:3]
            assert block.tensors[operator.output].axes == (*query.axes[:3], value.axes[-1])
            assert set(operator.saves) == {*operator.inputs, operator.output}


@pytest.mark.parametrize("name", MODELS)
def test_graphs_are_acyclic_and_reach_the_loss(name: str) -> None:
    model = graph_of(name)
    for block in model.blocks.values():
        assert networkx.is_directed_acyclic_graph(block.graph())
    graph = model.graph()
    assert networkx.is_directed_acyclic_graph(graph)
    last = (len(model.order) - 1, "head")
    assert networkx.ancestors(graph, last) | {last} == set(graph.nodes)


@pytest.mark.parametrize("name", MODELS)
def test_tied_parameters_have_a_home(name: str) -> None:
    model = graph_of(name)
    homes = {
        parameter.name: parameter.count
        for block in model.blocks.values()
        for parameter in block.parameters.values()
        if parameter.tied_to is None
    }
    for block in model.blocks.values():
        for parameter in block.parameters.values():
            if parameter.tied_to is not None:
                assert homes[parameter.tied_to] == parameter.count


@pytest.mark.parametrize("name", MODELS)
def test_streams_connect(name: str) -> None:
    model = graph_of(name)
    previous = None
    for block in (model.blocks[item] for item in model.order):
        if previous is not None and block.kind != "embedding":
            assert previous.tensors[previous.output].axes == block.tensors[block.input].axes
        previous = block
