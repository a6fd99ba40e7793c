"""Small operator graphs made by hand and at random, and a cluster of two nodes of two devices."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from planner.hardware.loader import load_cluster
from planner.hardware.types import Cluster
from planner.models.operator_graph.types import DTYPE_BYTES, GraphOperator, InnerSum, OperatorGraph, Value

CLUSTER: Mapping[str, Any] = {
    "accelerator": "h100-sxm-80gb",
    "nodes": 2,
    "devices_per_node": 4,
    "network": [
        {"name": "nvlink", "kind": "nvlink4", "size": 4},
        {"name": "infiniband", "kind": "infiniband-ndr"},
    ],
}


def two_nodes() -> Cluster:
    """Eight H100 in two nodes."""
    return load_cluster(CLUSTER)


class GraphMaker:
    """Adds one operator after the other; two-dimensional values in bf16."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.operators: list[GraphOperator] = []
        self.inputs: list[str] = []

    def value(self, name: str, *shape: int, kind: Any = "activation", dtype: str = "bfloat16") -> str:
        gradient = dtype == "bfloat16" and kind != "input"
        self.values[name] = Value(name, shape, dtype, kind, gradient)
        if kind == "input":
            self.inputs.append(name)
        return name

    def add(self, kind: Any, inputs: tuple[str, ...], shape: tuple[int, ...], dims: Any, **more: Any) -> str:
        """An operator whose dims are one letter per dimension: ``(("tk", "kn"), "tn")``."""
        name = f"{kind}{len(self.operators)}"
        ins, out = dims
        axes: dict[str, int] = {}
        for letters, value in zip((*ins, out), (*inputs, name), strict=True):
            lengths = shape if value == name else self.values[value].shape
            axes |= dict(zip(letters, lengths, strict=True))
        self.value(name, *shape)
        self.operators.append(
            GraphOperator(
                name, kind, f"aten.{kind}", inputs, (name,), axes,
                tuple(tuple((letter,) for letter in letters) for letters in ins),
                (tuple((letter,) for letter in out),), **more,
            )
        )  # fmt: skip
        return name

    def linear(self, x: str, width: int, weight: str | None = None) -> str:
        rows, inner = self.values[x].shape
        weight = weight or self.value(f"w{len(self.operators)}", inner, width, kind="parameter")
        return self.add(
            "matmul", (x, weight), (rows, width), (("tk", "kn"), "tn"),
            partial=(frozenset({0}), frozenset({1})), flops=2 * rows * inner * width, saves=(x, weight),
        )  # fmt: skip

    def tied_head(self, x: str, table: str) -> str:
        """Logits by the rows of a table."""
        rows, inner = self.values[x].shape
        words = self.values[table].shape[0]
        return self.add(
            "matmul", (x, table), (rows, words), (("tk", "nk"), "tn"),
            partial=(frozenset({0}), frozenset({1})), flops=2 * rows * inner * words, saves=(x, table),
        )  # fmt: skip

    def unary(self, x: str) -> str:
        return self.add("elementwise", (x,), self.values[x].shape, (("ab",), "ab"), saves=(x,))

    def plus(self, x: str, y: str) -> str:
        pair = (frozenset({0, 1}),)
        return self.add("elementwise", (x, y), self.values[x].shape, (("ab", "ab"), "ab"), partial=pair)

    def norm(self, x: str) -> str:
        whole = frozenset({"b"})
        return self.add("norm", (x,), self.values[x].shape, (("ab",), "ab"), whole=whole, saves=(x,))

    def turned(self, x: str) -> str:
        rows, columns = self.values[x].shape
        once = (frozenset({0}),)
        return self.add("view", (x,), (columns, rows), (("ab",), "ba"), partial=once)

    def total(self, x: str) -> str:
        columns = self.values[x].shape[1]
        return self.add("reduce", (x,), (columns,), (("ab",), "b"), partial=(frozenset({0}),))

    def lookup(self, ids: str, rows: int, width: int) -> str:
        table = self.value(f"table{len(self.operators)}", rows, width, kind="parameter")
        shape = (self.values[ids].shape[0], width)
        return self.add("embedding", (table, ids), shape, (("vh", "t"), "th"), saves=(ids,))

    def loss(self, logits: str, targets: str) -> str:
        words = ("maximum", "sum", "target")
        inner = {"v": tuple(InnerSum(("t",), "float32", False, word) for word in words)}
        return self.add("loss", (logits, targets), (), (("tv", "t"), ""), inner_sums=inner, saves=(logits,))

    def graph(self, name: str, *outputs: str) -> OperatorGraph:
        return OperatorGraph(name, self.values, tuple(self.operators), tuple(self.inputs), outputs)


def mlp(tokens: int, hidden: int, ffn: int) -> OperatorGraph:
    """Two products with a function between them."""
    maker = GraphMaker()
    x = maker.value("x", tokens, hidden, kind="input")
    return maker.graph("mlp", maker.linear(maker.unary(maker.linear(x, ffn)), hidden))


def language_model(tokens: int, hidden: int, vocabulary: int, *, tied: bool = False) -> OperatorGraph:
    """A table, a product, a head, a loss."""
    maker = GraphMaker()
    ids = maker.value("ids", tokens, kind="input", dtype="int64")
    targets = maker.value("targets", tokens, kind="input", dtype="int64")
    x = maker.linear(maker.norm(maker.lookup(ids, vocabulary, hidden)), hidden)
    logits = maker.tied_head(x, "table0") if tied else maker.linear(x, vocabulary)
    return maker.graph("language model", maker.loss(logits, targets))


def residual(tokens: int, hidden: int, ffn: int) -> OperatorGraph:
    """x + down(up(norm(x))): x is read twice."""
    maker = GraphMaker()
    x = maker.unary(maker.value("x", tokens, hidden, kind="input"))
    return maker.graph("residual", maker.plus(x, maker.linear(maker.linear(maker.norm(x), ffn), hidden)))


def random_graph(seed: int, alternatives: Any, most: int) -> OperatorGraph:
    """2 to 8 operators whose combinations of alternatives stay below ``most``.

    Args:
        alternatives: operator, graph -> number of its alternatives.
    """
    draw = random.Random(seed)
    sizes = draw.choice([(4096, 2048), (4096, 2050), (2050, 4098, 1025), (1025, 4096), (8192, 1025, 513)])
    maker = GraphMaker()
    known = [maker.value("x", draw.choice(sizes), draw.choice(sizes), kind="input")]
    combinations, wanted = 1, draw.randint(2, 8)
    while len(maker.operators) < wanted:
        before = dict(maker.values)
        _grow(maker, known, sizes, draw)
        graph = maker.graph("random", maker.operators[-1].name)
        combinations *= alternatives(maker.operators[-1], graph)
        if combinations > most:
            maker.operators.pop()
            maker.values = before
            break
        if len(maker.values[maker.operators[-1].name].shape) == 2:
            known.append(maker.operators[-1].name)
    read = {name for operator in maker.operators for name in operator.inputs}
    return maker.graph(f"random {seed}", *(item.name for item in maker.operators if item.name not in read))


def _grow(maker: GraphMaker, known: list[str], sizes: tuple[int, ...], draw: random.Random) -> None:
    """One operator more, mostly on what was made last."""
    x = known[-1] if draw.random() < 0.7 else draw.choice(known)
    alike = [name for name in known if maker.values[name].shape == maker.values[x].shape]
    fitting = [name for name in known if maker.values[name].shape[0] == maker.values[x].shape[1]]
    kind = draw.choice(["linear", "linear", "unary", "norm", "plus", "turned", "total", "product"])
    if kind == "linear":
        maker.linear(x, draw.choice(sizes))
    elif kind == "plus":
        maker.plus(x, draw.choice(alike))
    elif kind == "product" and fitting:
        other = draw.choice(fitting)
        maker.linear(x, maker.values[other].shape[1], weight=other)
    elif kind == "total":
        maker.total(x)
    elif kind == "turned":
        maker.turned(x)
    elif kind == "norm":
        maker.norm(x)
    else:
        maker.unary(x)


def width(value: Value) -> int:
    """Bytes of one element."""
    return DTYPE_BYTES[value.dtype]
