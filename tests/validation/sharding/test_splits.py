"""Every rule against PyTorch: an operator on the parts that its rule promises gives the parts of the whole result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch

from planner.models.operator_graph.calls import call
from planner.models.operator_graph.derive import operator_graph
from planner.models.operator_graph.nodes import Node, Ref, TracedGraph
from planner.models.operator_graph.types import Dims, ElementType, GraphOperator, Value
from planner.solvers.sharding.plan import Choice
from planner.validation.sharding.functions import called, local_function
from planner.validation.sharding.layout import Shares


@dataclass(frozen=True)
class OneRank:
    """A device mesh of one dimension as one of its ranks sees it."""

    ranks: int
    rank: int

    def size(self, _: int) -> int:
        return self.ranks

    def get_local_rank(self, _: int) -> int:
        return self.rank


X, Y, Z, W = Ref("x"), Ref("y"), Ref("z"), Ref("w")

CALLS: list[tuple[str, dict[str, tuple[int, ...]], tuple[object, ...]]] = [
    ("add", {"x": (4, 6), "y": (6,)}, (X, Y)),
    ("sub", {"x": (4, 1), "y": (4, 6)}, (X, Y)),
    ("add", {"x": (4, 6)}, (X, 1.5)),
    ("mul", {"x": (4, 6), "y": (4, 6)}, (X, Y)),
    ("mul", {"x": (4, 6)}, (X, 0.5)),
    ("div", {"x": (4, 6), "y": (4, 1)}, (X, Y)),
    ("neg", {"x": (4, 6)}, (X,)),
    ("gelu", {"x": (4, 6)}, (X,)),
    ("silu", {"x": (4, 6)}, (X,)),
    ("pow", {"x": (4, 6)}, (X, 2)),
    ("rsqrt", {"p": (4, 6)}, (Ref("p"),)),
    ("where", {"m": (4, 6), "x": (4, 6), "y": (6,)}, (Ref("m"), X, Y)),
    ("masked_fill", {"x": (2, 4, 6), "m": (4, 6)}, (X, Ref("m"), 0)),
    ("masked_fill", {"x": (4, 6), "m": (4, 6)}, (X, Ref("m"), -5.0)),
    ("linear", {"x": (2, 4, 6), "w": (8, 6)}, (X, W)),
    ("matmul", {"x": (2, 4, 6), "y": (2, 6, 8)}, (X, Y)),
    ("matmul", {"x": (2, 3, 4, 6), "y": (6, 8)}, (X, Y)),
    ("bmm", {"x": (2, 4, 6), "y": (2, 6, 8)}, (X, Y)),
    ("einsum", {"x": (2, 4, 6), "w": (3, 6, 8)}, ("bth,ehf->btef", (X, W))),
    ("conv2d", {"x": (4, 2, 8, 8), "w": (6, 2, 4, 4)}, (X, W, None, (4, 4))),
    ("conv2d", {"x": (4, 2, 8, 8), "w": (6, 2, 4, 4), "y": (6,)}, (X, W, Y, (4, 4))),
    ("view", {"x": (4, 6, 8)}, (X, (4, 6, 2, 4))),
    ("view", {"x": (4, 6, 8)}, (X, (24, 8))),
    ("view", {"x": (4, 6)}, (X, (6, 4))),
    ("unsqueeze", {"x": (4, 6)}, (X, 1)),
    ("transpose", {"x": (2, 4, 6)}, (X, 0, 2)),
    ("permute", {"x": (2, 4, 6)}, (X, (2, 0, 1))),
    ("t", {"x": (4, 6)}, (X,)),
    ("expand", {"x": (4, 1, 6)}, (X, (4, 8, 6))),
    ("repeat", {"x": (4, 6)}, (X, (2, 2, 1))),
    ("repeat_interleave", {"x": (2, 4, 6)}, (X, 3, 1)),
    ("slice", {"x": (4, 6)}, (X, 1, 0, 2)),
    ("slice", {"x": (4, 6)}, (X, 0, 0, 9223372036854775807)),
    ("split", {"x": (4, 6)}, (X, 2, -1)),
    ("chunk", {"x": (4, 6)}, (X, 2, -1)),
    ("split_with_sizes", {"x": (4, 6)}, (X, (2, 4), 1)),
    ("select", {"x": (4, 2, 6)}, (X, 1, 0)),
    ("unbind", {"x": (4, 2, 6)}, (X, 1)),
    ("cat", {"x": (4, 2), "y": (4, 6)}, ((X, Y), -1)),
    ("stack", {"x": (4, 6), "y": (4, 6)}, ((X, Y), 1)),
    ("topk", {"x": (4, 6)}, (X, 2)),
    ("sort", {"x": (4, 6)}, (X,)),
    ("gather", {"x": (4, 6), "i": (4, 2)}, (X, 1, Ref("i"))),
    ("scatter", {"x": (4, 6), "i": (4, 2), "y": (4, 2)}, (X, 1, Ref("i"), Y)),
    ("index_select", {"x": (4, 6), "i": (2,)}, (X, 0, Ref("i"))),
    ("one_hot", {"i": (4, 6)}, (Ref("i"), 8)),
    ("constant_pad_nd", {"x": (4, 6)}, (X, (1, 1))),
    ("cumsum", {"x": (4, 6)}, (X, 1)),
    ("triu", {"x": (2, 4, 6)}, (X,)),
    ("sum", {"x": (2, 4, 6)}, (X, (1,))),
    ("sum", {"x": (2, 4)}, (X,)),
    ("mean", {"x": (2, 4, 6)}, (X, (0, -1), True)),
    ("amax", {"x": (4, 6)}, (X, (1,))),
    ("argmax", {"x": (4, 6)}, (X, 1)),
    ("var", {"x": (4, 6)}, (X, (1,))),
    ("logsumexp", {"x": (4, 6)}, (X, (1,))),
    ("softmax", {"x": (2, 4, 6)}, (X, -1)),
    ("log_softmax", {"x": (4, 6)}, (X, 1)),
    ("layer_norm", {"x": (2, 4, 6), "w": (6,), "y": (6,)}, (X, (6,), W, Y, 1e-5)),
    ("rms_norm", {"x": (2, 4, 6), "w": (6,)}, (X, (6,), W)),
    ("group_norm", {"x": (4, 6, 2), "w": (6,), "y": (6,)}, (X, 3, W, Y)),
    ("embedding", {"w": (8, 6), "i": (4, 2)}, (W, Ref("i"))),
    ("cross_entropy_loss", {"x": (4, 8), "i": (4,)}, (X, Ref("i"))),
    ("cross_entropy_loss", {"x": (4, 8), "i": (4,)}, (X, Ref("i"), None, 2)),
    ("cross_entropy_loss", {"x": (4, 8), "i": (4,)}, (X, Ref("i"), None, 1, -100, 0.1)),
    ("scaled_dot_product_attention", {"x": (4, 2, 6, 4), "y": (4, 2, 6, 4), "z": (4, 2, 6, 8)}, (X, Y, Z)),
    ("scaled_dot_product_attention", {"x": (4, 2, 6, 4), "y": (4, 2, 6, 4), "z": (4, 2, 6, 4)}, (X, Y, Z, None, 0.0, True)),
    ("scaled_dot_product_attention", dict.fromkeys("xyz", (2, 2, 6, 4)) | {"b": (2, 6, 6)}, (X, Y, Z, Ref("b"))),
    ("scaled_dot_product_attention", {"x": (2, 8, 6, 4), "y": (2, 2, 6, 4), "z": (2, 2, 6, 4)}, (X, Y, Z, None, 0.0, True)),
    ("index", {"x": (4, 6), "i": (2,)}, (X, (Ref("i"),))),
    ("relu", {"x": (1, 6)}, (X,)),
]  # fmt: skip


def drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Indices (i), masks (m), positive numbers (p), else any numbers."""
    generator = torch.Generator().manual_seed(len(shape) + sum(map(ord, name)))
    if name == "i":
        return torch.randint(2, shape, generator=generator)
    made = torch.randn(shape, generator=generator, dtype=torch.float64)
    return made > 0 if name == "m" else made.abs() + 0.1 if name == "p" else made


def operator_of(name: str, tensors: dict[str, torch.Tensor], arguments: tuple[object, ...]) -> GraphOperator:
    """The operator that the importer makes of this call, with shapes from running it."""
    node = Node("it", f"aten.{name}", arguments, ("out",), _keywords(name))
    operands = {key: index for index, key in enumerate(node.inputs)}
    bare = GraphOperator("it", "opaque", node.target, node.inputs, (), {}, (), (), arguments=arguments)
    results = whole_results(bare, tensors, arguments, node.keywords)
    outputs = tuple(f"out{index}" for index in range(len(results)))
    values = {key: _value(key, tensors[key], "parameter") for key in operands}
    values |= {key: _value(key, result, "activation") for key, result in zip(outputs, results, strict=True)}
    graph = TracedGraph("one", values, (replace(node, outputs=outputs),), (), outputs)
    return operator_graph(graph).operators[-1]


def whole_results(
    operator: GraphOperator, tensors: dict[str, torch.Tensor], arguments: object, keywords: object
) -> tuple[torch.Tensor, ...]:
    result = call(operator.target, arguments, keywords, tensors)  # type: ignore[arg-type]
    return result if isinstance(result, tuple) else (result,)


def _keywords(name: str) -> dict[str, object]:
    return {"enable_gqa": True} if name == "scaled_dot_product_attention" else {}


def _value(name: str, tensor: torch.Tensor, kind: str) -> Value:
    return Value(
        name, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), kind, tensor.is_floating_point()
    )  # type: ignore[arg-type]


def part(tensor: torch.Tensor, dims: Dims, axis: str, ranks: int, rank: int) -> torch.Tensor:
    """A rank's part: the dimensions that the axis leads are cut."""
    for index, dim in enumerate(dims):
        if dim[:1] == (axis,):
            tensor = tensor.chunk(ranks, dim=index)[rank]
    return tensor


def made_by_ranks(
    operator: GraphOperator, split: str | int, inputs: list[list[torch.Tensor]]
) -> list[tuple[torch.Tensor, ...]]:
    """What each rank computes of its inputs."""
    ranks = len(inputs)
    results = []
    for rank, tensors in enumerate(inputs):
        choice = Choice(operator.name, (split,), (), ())
        run = local_function(Shares(operator, choice, OneRank(ranks, rank)))  # type: ignore[arg-type]
        result = run(*tensors)
        results.append(result if isinstance(result, tuple) else (result,))
    return results


@pytest.mark.parametrize(
    ("name", "shapes", "arguments"), CALLS, ids=[f"{index}-{call[0]}" for index, call in enumerate(CALLS)]
)
def test_parts_make_up_the_whole(
    name: str, shapes: dict[str, tuple[int, ...]], arguments: tuple[object, ...]
) -> None:
    tensors = {key: drawn(key, shape) for key, shape in shapes.items()}
    operator = operator_of(name, tensors, arguments)
    inputs = [tensors[key] for key in operator.inputs]
    result = called(operator, inputs)
    expected = result if isinstance(result, tuple) else (result,)
    for axis in operator.splittable:
        if not operator.inner_sums.get(axis):  # those need other ranks while they run: see the real runs
            for ranks in (n for n in (2, 3, 4) if operator.axes[axis] % n == 0):
                check_split(operator, axis, ranks, inputs, expected)
    for number, alternative in enumerate(operator.partial):
        shares = [
            [_share(tensor, rank) if place in alternative else tensor for place, tensor in enumerate(inputs)]
            for rank in range(2)
        ]
        results = made_by_ranks(operator, number, shares)
        for index, whole in enumerate(expected):
            torch.testing.assert_close(sum(result[index] for result in results), whole)


def check_split(
    operator: GraphOperator,
    axis: str,
    ranks: int,
    inputs: list[torch.Tensor],
    expected: tuple[torch.Tensor, ...],
) -> None:
    """Outputs with the axis come in parts; those without it in terms of a sum."""
    sides = list(zip(inputs, operator.input_dims, strict=True))
    parts = [[part(tensor, dims, axis, ranks, rank) for tensor, dims in sides] for rank in range(ranks)]
    results = made_by_ranks(operator, axis, parts)
    for index, (whole, dims) in enumerate(zip(expected, operator.output_dims, strict=True)):
        got = [result[index] for result in results]
        if any(axis in dim for dim in dims):
            wanted = [part(whole, dims, axis, ranks, rank) for rank in range(ranks)]
        else:
            got, wanted = [sum(got, torch.zeros_like(whole))], [whole]
        for ours, theirs in zip(got, wanted, strict=True):
            torch.testing.assert_close(ours, theirs)


def _share(tensor: torch.Tensor, rank: int) -> torch.Tensor:
    """Two shares that add up to the tensor."""
    first = torch.arange(tensor.numel(), dtype=tensor.dtype).reshape(tensor.shape).sin()
    return first if rank == 0 else tensor - first


SPLITTABLE = {
    "0-add": 2, "3-mul": 2, "14-linear": 4, "15-matmul": 4, "18-einsum": 5, "19-conv2d": 3, "20-conv2d": 2, "21-view": 3,
    "22-view": 2, "23-view": 0, "31-slice": 1, "49-sum": 3, "51-mean": 3, "56-softmax": 2, "58-layer_norm": 2,
    "60-group_norm": 1, "61-embedding": 4, "62-cross_entropy_loss": 2, "64-cross_entropy_loss": 1,
    "65-scaled_dot_product_attention": 3, "66-scaled_dot_product_attention": 2, "68-scaled_dot_product_attention": 2,
    "69-index": 0,
}  # fmt: skip
"""How many axes each can be split by, counted by hand: a rule that keeps all whole would pass the test above."""


@pytest.mark.parametrize("label", SPLITTABLE)
def test_rules_leave_nothing_out(label: str) -> None:
    index = int(label.partition("-")[0])
    name, shapes, arguments = CALLS[index]
    assert label == f"{index}-{name}"
    operator = operator_of(name, {key: drawn(key, shape) for key, shape in shapes.items()}, arguments)
    assert len(operator.splittable) == SPLITTABLE[label]


def test_reshapes_share_axes_wherever_both_shapes_can_be_split() -> None:
    """By brute force: a dimension of the input can be split in p exactly if the p parts, reshaped, are equal slabs."""
    for before, after in product([(4, 6), (2, 2, 6), (24,), (4, 3, 2), (2, 12), (8, 3)], repeat=2):
        if math.prod(before) != math.prod(after):
            continue
        tensor = torch.arange(24.0, dtype=torch.float64).reshape(before)
        operator = operator_of("view", {"x": tensor}, (X, after))
        found = {
            (dims[0], index)
            for index, dims in enumerate(operator.input_dims[0])
            if dims and dims[0] in operator.splittable
        }
        for index, size in enumerate(before):
            legal = any(
                all(
                    torch.equal(a.reshape(b.shape), b)
                    for a, b in zip(
                        tensor.chunk(size, index), tensor.reshape(after).chunk(size, other), strict=True
                    )
                )
                for other, length in enumerate(after)
                if length % size == 0
            )
            whole_axis = [axis for axis, place in found if place == index and operator.axes[axis] == size]
            assert bool(whole_axis) <= legal, (before, after, index)


def test_element_types_in_calls_are_kept() -> None:
    values = {"x": Value("x", (4,), "float32", "parameter"), "y": Value("y", (4,), "bfloat16")}
    node = Node("it", "aten._to_copy", (X,), ("y",), {"dtype": ElementType("bfloat16")})
    graph = operator_graph(TracedGraph("cast", values, (node,), (), ("y",)))
    assert called(graph.operators[0], [torch.ones(4)]).dtype == torch.bfloat16
