"""Placements that people found by hand come out by themselves (Megatron-LM, arXiv 1909.08053 section 3; 2205.05198)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from planner.costs.collectives import Group
from planner.hardware.loader import load_cluster
from planner.models.operator_graph.load import load_graph
from planner.models.operator_graph.types import OperatorGraph
from planner.solvers.sharding import (
    DeviceMesh,
    ShardingPlan,
    best_sharding,
    extract,
    make_problem,
    mesh_hardware,
    two_rules,
)
from tests.solvers.sharding.graphs import GraphMaker, language_model, two_nodes

COLUMNS, ROWS = ("S0",), ("S1",)
"""Of a linear layer's weight (out, in): split along the output, along the input."""

LAYER = {"q": COLUMNS, "k": COLUMNS, "v": COLUMNS, "gate": COLUMNS, "up": COLUMNS, "o": ROWS, "down": ROWS}


def calls(plan: ShardingPlan, in_pass: str, least_bytes: int = 0) -> Counter[str]:
    return Counter(
        item.collective for item in plan.sent() if item.in_pass == in_pass and item.bytes >= least_bytes
    )


@pytest.fixture(scope="module")
def layer_source(root: Path) -> str:
    return (root / "examples" / "operator_graphs" / "llama.py").read_text()


def layer(source: str, folder: Path, tokens: int) -> OperatorGraph:
    """One layer of Llama 3 8B."""
    file = folder / "llama.py"
    start = source.index("torch.empty(1, ") + len("torch.empty(1, ")
    file.write_text(source[:start] + str(tokens) + source[source.index(",", start) :])
    return load_graph(f"{file}:layer_8b", block=True)


@pytest.mark.parametrize(
    ("cluster", "tokens", "sequence_parallel"),
    [("h100-superpod", 2048, False), ("a100-superpod", 2048, True), ("a100-superpod", 4096, True)],
)
def test_a_llama_layer_on_eight_devices(
    layer_source: str, tmp_path: Path, cluster: str, tokens: int, sequence_parallel: bool
) -> None:
    """One all-reduce per attention and per MLP, or the all-gather and reduce-scatter that it is made of: where the switch adds
    up (NVLink 4), the former moves fewer bytes."""
    graph = layer(layer_source, tmp_path, tokens)
    problem = make_problem(graph, mesh_hardware(load_cluster(cluster), DeviceMesh((8,))), block=True)
    plan = extract(problem, best_sharding(problem).choice)
    assert {name: plan.stored[f"{name}.weight"] for name in LAYER} == LAYER
    stream = tokens * 4096 * 2
    pair = {"all_gather": 2, "reduce_scatter": 2} if sequence_parallel else {"all_reduce": 2}
    assert calls(plan, "forward") == pair
    assert calls(plan, "backward", least_bytes=stream) == pair
    assert {item.bytes for item in plan.sent() if item.in_pass == "forward"} == {stream}
    small = [item for item in plan.sent() if item.bytes < stream]
    assert {item.what for item in small} <= {"attention_norm.weight", "mlp_norm.weight"}


def test_at_8192_tokens_the_weight_of_o_is_what_travels(layer_source: str, tmp_path: Path) -> None:
    """4,096 x 4,096 weights have half the bytes of the tokens; the MLP's have 3.5 times as many as those."""
    graph = layer(layer_source, tmp_path, 8192)
    problem = make_problem(graph, mesh_hardware(load_cluster("h100-superpod"), DeviceMesh((8,))), block=True)
    answer = best_sharding(problem)
    gathered = {
        item.what for item in extract(problem, answer.choice).sent() if item.collective == "all_gather"
    }
    assert "o.weight" in gathered
    assert not gathered & {f"{name}.weight" for name in LAYER if name != "o"}
    assert answer.seconds < problem.seconds(two_rules(problem))


def block_of_two_products() -> OperatorGraph:
    maker = GraphMaker()
    x = maker.value("x", 512, 4096, kind="input")
    return maker.graph("mlp", maker.linear(maker.unary(maker.linear(x, 16384)), 4096))


def test_an_mlp_block_is_split_along_columns_then_rows() -> None:
    """(B, S1) -> S1, (S1, S0) -> P, P -> B, which moves 2 (p - 1) / p |Y| per rank."""
    problem = make_problem(block_of_two_products(), mesh_hardware(two_nodes(), DeviceMesh((4,))))
    plan = extract(problem, best_sharding(problem).choice)
    up, function, down = plan.choices
    assert (up.inputs, up.outputs) == ((("R",), ("S1",)), (("S1",),))
    assert (function.inputs, function.outputs) == ((("S1",),), (("S1",),))
    assert (down.inputs, down.outputs) == ((("S1",), ("S0",)), (("P",),))
    (reduced,) = plan.sent()
    whole = 512 * 4096 * 2
    assert (reduced.collective, reduced.bytes, reduced.in_pass) == ("all_reduce", whole, "forward")
    (call,) = Group(two_nodes(), 4).table("all_reduce", [reduced.bytes])
    assert call.bytes_per_level[0] == pytest.approx(2 * 3 / 4 * whole)
    assert call.seconds == reduced.seconds


def test_tied_tables_heads_and_losses_split_the_vocabulary() -> None:
    graph = language_model(4096, 1024, 131072, tied=True)
    problem = make_problem(graph, mesh_hardware(load_cluster("h100-superpod"), DeviceMesh((8,))))
    plan = extract(problem, best_sharding(problem).choice)
    assert plan.stored["table0"] == ("S0",)
    assert plan.choices[0].outputs == (("P",),)
    assert plan.choices[-1].inputs[0] == ("S1",)
    assert [item.bytes for item in plan.inner] == [4 * 4096] * 3


HAND_WRITTEN = {
    "gpt2": (2, {"c_attn": "S0", "c_proj": "S1", "up": "S0", "down": "S1"}, {"wte": "S0"}),
    "llama": (
        2,
        {"q": "S0", "k": "S0", "v": "S0", "o": "S1", "gate": "S0", "up": "S0", "down": "S1"},
        {"embedding": "S0", "head": "S0"},
    ),
    "t5": (5, {"q": "S0", "k": "S0", "v": "S0", "o": "S1", "wi": "S0", "wo": "S1"}, {"shared": "S0"}),
    "bert": (
        2,
        {"query": "S0", "key": "S0", "value": "S0", "output": "S1", "up": "S0", "down": "S1"},
        {"words": "S0"},
    ),
    "vit": (2, {"qkv": "S0", "proj": "S1", "fc1": "S0", "fc2": "S1"}, {"head": "S0"}),
}
"""Model -> all-reduces per layer (of encoder and decoder together), weights of layers, others; dimension 0 is the output."""


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_two_rules_write_what_people_write(name: str, example: Callable[[str], OperatorGraph]) -> None:
    """Tensor parallel on four devices: one all-reduce per attention and MLP, no other change of placement."""
    per_layer, weights, others = HAND_WRITTEN[name]
    graph = example(name)
    problem = make_problem(graph, mesh_hardware(load_cluster("h100-superpod"), DeviceMesh((4,))))
    plan = extract(problem, two_rules(problem))
    for value, where in plan.stored.items():
        words = value.split("[")[0].split(".")
        module = words[-2] if len(words) > 1 else ""
        if words[-1] == "weight" and module in weights | others:
            assert where == ((weights | others)[module],), value
        elif len(graph.values[value].shape) == 1 and module not in weights | others:
            assert where == ("R",) or value == "bias", value
    tables = sum(
        operator.kind == "embedding" and plan.stored[operator.inputs[0]] == ("S0",)
        for operator in graph.operators
    )
    forward = [item for item in plan.sent() if item.in_pass == "forward"]
    assert {item.collective for item in forward} == {"all_reduce"}
    inner = len(plan.inner)
    assert len(forward) == 2 * per_layer + tables + inner
    assert {item.collective for item in plan.sent()} == {"all_reduce"}


@pytest.mark.parametrize("pairs", [1, 2, 5])
def test_two_rules_on_a_random_mlp(pairs: int) -> None:
    """Products in turn along columns and rows: one all-reduce per pair."""
    draw = random.Random(pairs)
    maker = GraphMaker()
    x = maker.value("x", 64, 64 * draw.randint(1, 9), kind="input")
    for _ in range(2 * pairs):
        x = maker.unary(maker.linear(x, 64 * draw.randint(1, 9)))
    graph = maker.graph("random mlp", x)
    problem = make_problem(graph, mesh_hardware(load_cluster("h100-superpod"), DeviceMesh((4,))))
    plan = extract(problem, two_rules(problem))
    weights = [plan.stored[name] for name in graph.values if name.startswith("w")]
    assert weights == [("S1",), ("S0",)] * pairs
    assert calls(plan, "forward") == {"all_reduce": pairs}
    assert calls(plan, "backward") == ({"all_reduce": pairs - 1} if pairs > 1 else {})
