"""Seconds of operators and of sums inside of them: shapes on one rank are the only difference between ways to split."""

from __future__ import annotations

import numpy as np
import pytest

from planner.costs.kernels import matmul_seconds, memory_bound_seconds
from planner.models.operator_graph.types import GraphOperator, OperatorGraph, Value
from planner.solvers.sharding import DeviceMesh, make_problem, mesh_hardware
from planner.solvers.sharding.problem import Node, Problem
from tests.solvers.sharding.graphs import GraphMaker, language_model, two_nodes

MESH = DeviceMesh((2, 4))


def problem(graph: OperatorGraph, **more: bool) -> Problem:
    return make_problem(graph, mesh_hardware(two_nodes(), MESH), **more)


def seconds(node: Node, *split: object) -> float:
    at = [strategy.split for strategy in node.strategies].index(split)  # type: ignore[arg-type]
    return float(node.seconds[at])


def matmul(*sizes: float) -> float:
    m, n, k = (np.array([size]) for size in sizes)
    return float(matmul_seconds(m, n, k, two_nodes().accelerator, "bf16")[0])


def test_a_product_is_three_products_of_local_sizes() -> None:
    maker = GraphMaker()
    x = maker.unary(maker.value("x", 512, 1024, kind="input"))
    graph = maker.graph("product", maker.linear(x, 4096))
    assert graph.values["elementwise0"].gradient
    node = problem(graph).nodes[problem(graph).places["operator", "matmul1"]]
    for split, (m, k, n) in {
        (None, None): (512, 1024, 4096),
        ("t", "n"): (256, 1024, 1024),
        ("k", "n"): (512, 512, 1024),
        ("n", "n"): (512, 1024, 512),
        (0, "t"): (128, 1024, 4096),
    }.items():
        assert seconds(node, *split) == pytest.approx(matmul(m, n, k) + matmul(m, k, n) + matmul(k, n, m))
    forward = problem(graph, training=False)
    assert seconds(forward.nodes[forward.places["operator", "matmul1"]], None, "n") == pytest.approx(
        matmul(512, 1024, 1024)
    )


def test_inputs_without_gradient_need_no_product() -> None:
    maker = GraphMaker()
    graph = maker.graph("product", maker.linear(maker.value("x", 512, 1024, kind="input"), 4096))
    found = problem(graph)
    assert seconds(found.nodes[found.places["operator", "matmul0"]], None, None) == pytest.approx(
        matmul(512, 4096, 1024) + matmul(1024, 4096, 512)
    )


def test_kernels_bound_by_memory_move_their_share() -> None:
    maker = GraphMaker()
    x = maker.unary(maker.value("x", 8192, 8192, kind="input"))
    graph = maker.graph("unary", maker.unary(x))
    found = problem(graph)
    moved = np.array([8192.0 * 8192 * 2 * 2])
    once = float(memory_bound_seconds(moved, two_nodes().accelerator)[0])
    node = found.nodes[found.places["operator", "elementwise1"]]
    assert seconds(node, None, None) == pytest.approx(2 * once)
    assert seconds(node, "a", "b") == pytest.approx(2 * once / 8)


def test_a_split_vocabulary_pays_for_its_sums() -> None:
    found = problem(language_model(4096, 1024, 32768))
    node = found.nodes[found.places["operator", "loss4"]]
    calls = found.hardware.collective_s("all_reduce", 1, np.array([4096 * 4.0]), 4)[0]
    whole = problem(language_model(4096, 1024, 8192)).nodes[found.places["operator", "loss4"]]
    assert seconds(node, None, "v") == pytest.approx(seconds(whole, None, None) + 3 * calls, rel=1e-3)


def test_stored_parameters_carry_their_states() -> None:
    """bf16: 2 parameter + 2 gradient + 4 copy + 8 moments bytes; fp32: 4 + 4 + 8."""
    values = {
        "x": Value("x", (64, 64), "bfloat16", "input", False),
        "w": Value("w", (64, 64), "bfloat16", "parameter"),
        "v": Value("v", (64, 64), "float32", "parameter"),
        "y": Value("y", (64, 64), "bfloat16"),
    }
    dims = ((("a",), ("b",)),) * 3
    add = GraphOperator(
        "add", "elementwise", "aten.add", ("x", "w", "v"), ("y",), {"a": 64, "b": 64}, dims, dims[:1]
    )
    graph = OperatorGraph("add", values, (add,), ("x",), ("y",))
    found = problem(graph)
    for name, width in (("w", 16), ("v", 16)):
        node = found.nodes[found.places["leaf", name]]
        assert node.bytes[node.placements.index((-1, -1))] == 64 * 64 * width
        assert node.bytes[node.placements.index((0, 0))] == 64 * 64 * width / 8
    plain = problem(graph, training=False)
    assert plain.nodes[plain.places["leaf", "v"]].bytes.max() == 64 * 64 * 4
