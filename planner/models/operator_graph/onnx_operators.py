"""ONNX operators as calls of ATen functions (https://onnx.ai/onnx/operators/)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.models.operator_graph.nodes import Ref
from planner.models.operator_graph.types import ElementType, Value


class UnknownOperatorError(Exception):
    """An operator, or a way of using it, that has no ATen call here."""


@dataclass(frozen=True)
class OnnxCall:
    """An ONNX node.

    Args:
        operator: its type.
        inputs: names, "" for an absent optional one.
        outputs: what it writes.
        attributes: by name.
        values: known tensors by name.
        constants: contents of small constant tensors, as nested lists.
    """

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any]
    values: Mapping[str, Value]
    constants: Mapping[str, Any]

    @property
    def refs(self) -> tuple[Ref, ...]:
        """Its present inputs."""
        return tuple(Ref(name) for name in self.inputs if name)

    def shape(self, position: int = 0) -> tuple[int, ...]:
        """Of an input."""
        return self.values[self.inputs[position]].shape

    def given(self, position: int) -> bool:
        """Whether an optional input is there."""
        return position < len(self.inputs) and bool(self.inputs[position])

    def constant(self, position: int, attribute: str = "") -> Any:
        """Content of an input that must be constant, or of the attribute that older versions have instead."""
        if self.given(position):
            if self.inputs[position] not in self.constants:
                raise UnknownOperatorError(f"input {position} is computed, not constant")
            return self.constants[self.inputs[position]]
        return self.attributes.get(attribute)


AtenCall = tuple[str, tuple[object, ...]]
"""ATen name and arguments."""


def aten_call(call: OnnxCall) -> AtenCall:
    """The ATen call of an ONNX node.

    Raises:
        UnknownOperatorError: there is none.
    """
    if call.operator in _SAME:
        return f"aten.{_SAME[call.operator]}", call.refs
    made = _SPECIAL.get(call.operator)
    if made is None:
        raise UnknownOperatorError("no rule")
    name, *arguments = made(call)
    return f"aten.{name}", tuple(arguments)


_SAME: Mapping[str, str] = {
    "MatMul": "matmul", "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Sqrt": "sqrt",
    "Reciprocal": "reciprocal", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log", "Neg": "neg", "Abs": "abs",
    "Erf": "erf", "Relu": "relu", "Softplus": "softplus", "Sin": "sin", "Cos": "cos", "Where": "where", "Equal": "eq",
    "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "And": "logical_and", "Or": "logical_or",
    "Not": "logical_not", "Floor": "floor", "Ceil": "ceil", "Sign": "sign", "Identity": "clone", "Mish": "mish",
}  # fmt: skip
"""Operators whose inputs are the function's arguments."""

Made = Sequence[Any]


def _view(call: OnnxCall) -> Made:
    return "view", call.refs[0], call.outputs[0].shape


def _gemm(call: OnnxCall) -> Made:
    attributes = call.attributes
    if (
        attributes.get("alpha", 1.0) != 1.0
        or attributes.get("beta", 1.0) != 1.0
        or attributes.get("transA", 0)
    ):
        raise UnknownOperatorError("factors, or a transposed first matrix")
    if attributes.get("transB", 0):
        return "linear", *call.refs
    return ("addmm", call.refs[2], *call.refs[:2]) if call.given(2) else ("mm", *call.refs)


def _reduce(name: str) -> Callable[[OnnxCall], Made]:
    def made(call: OnnxCall) -> Made:
        axes = call.constant(1, "axes")
        dims = tuple(range(len(call.shape()))) if axes is None else tuple(axes)
        return name, call.refs[0], dims, bool(call.attributes.get("keepdims", 1))

    return made


def _gather(call: OnnxCall) -> Made:
    data, places = call.refs
    axis = call.attributes.get("axis", 0)
    rank = len(call.shape(1))
    if rank == 0:
        return "select", data, axis, int(call.constant(1))
    if axis == 0 and len(call.shape()) == 2:
        return "embedding", data, places
    if rank == 1:
        return "index_select", data, axis, places
    raise UnknownOperatorError("places of several dimensions along an inner one")


def _norm(name: str) -> Callable[[OnnxCall], Made]:
    def made(call: OnnxCall) -> Made:
        rank = len(call.shape())
        inner = call.shape()[call.attributes.get("axis", -1) % rank :]
        scale, *bias = call.refs[1:]
        epsilon = call.attributes.get("epsilon", 1e-5)
        if name == "layer_norm":
            return name, call.refs[0], inner, scale, bias[0] if bias else None, epsilon
        return name, call.refs[0], inner, scale, epsilon

    return made


def _slice(call: OnnxCall) -> Made:
    starts, ends = call.constant(1, "starts"), call.constant(2, "ends")
    axes = call.constant(3, "axes") or list(range(len(starts)))
    steps = call.constant(4) or [1] * len(starts)
    if len(starts) != 1 or steps != [1]:
        raise UnknownOperatorError("several dimensions at once, or steps")
    return "slice", call.refs[0], axes[0], starts[0], ends[0]


def _split(call: OnnxCall) -> Made:
    axis = call.attributes.get("axis", 0) % len(call.shape())
    return "split_with_sizes", call.refs[0], tuple(value.shape[axis] for value in call.outputs), axis


def _convolution(call: OnnxCall) -> Made:
    picture = len(call.shape()) - 2
    pads = call.attributes.get("pads", [0] * 2 * picture)
    if (
        call.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET")
        or pads[:picture] != pads[picture:]
    ):
        raise UnknownOperatorError("unequal padding")
    data, weight, *bias = call.refs
    strides, dilations = (tuple(call.attributes.get(key, [1] * picture)) for key in ("strides", "dilations"))
    bare = bias[0] if bias else None
    zeros, groups = (0,) * picture, call.attributes.get("group", 1)
    return "convolution", data, weight, bare, strides, tuple(pads[:picture]), dilations, False, zeros, groups


def _cross_entropy(call: OnnxCall) -> Made:
    if call.given(2) or len(call.outputs) > 1:
        raise UnknownOperatorError("weights of classes, or the logarithms as a second result")
    how = call.attributes.get("reduction", b"mean")
    reduction = {"none": 0, "mean": 1, "sum": 2}[how.decode() if isinstance(how, bytes) else how]
    return "cross_entropy_loss", *call.refs, None, reduction, call.attributes.get("ignore_index", -100)


def _attention(call: OnnxCall) -> Made:
    known = {"is_causal", "scale"}
    if len(call.shape()) != 4 or any(call.given(place) for place in (4, 5)) or set(call.attributes) - known:
        raise UnknownOperatorError("past keys, packed heads, or soft caps")
    mask = call.refs[3] if call.given(3) else None
    return (
        "scaled_dot_product_attention",
        *call.refs[:3],
        mask,
        0.0,
        bool(call.attributes.get("is_causal", 0)),
    )


def _scatter(call: OnnxCall) -> Made:
    if call.attributes.get("reduction", b"none") not in (b"none", "none"):
        raise UnknownOperatorError("a reduction")
    data, places, updates = call.refs
    return "scatter", data, call.attributes.get("axis", 0), places, updates


def _top(call: OnnxCall) -> Made:
    largest = bool(call.attributes.get("largest", 1))
    return "topk", call.refs[0], int(call.constant(1)[0]), call.attributes.get("axis", -1), largest


def _triangle(call: OnnxCall) -> Made:
    name = "triu" if call.attributes.get("upper", 1) else "tril"
    return name, call.refs[0], int(call.constant(1) or 0) if call.given(1) else 0


def _einsum(call: OnnxCall) -> Made:
    equation = call.attributes["equation"]
    return "einsum", equation.decode() if isinstance(equation, bytes) else equation, call.refs


def _gelu(call: OnnxCall) -> Made:
    return "gelu", call.refs[0]


_SPECIAL: Mapping[str, Callable[[OnnxCall], Made]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _view),
    "Gemm": _gemm,
    "ReduceSum": _reduce("sum"),
    "ReduceMean": _reduce("mean"),
    "ReduceMax": _reduce("amax"),
    "ReduceMin": _reduce("amin"),
    "Transpose": lambda call: (
        "permute",
        call.refs[0],
        tuple(call.attributes.get("perm") or range(len(call.shape()))),
    ),
    "Expand": lambda call: ("expand", call.refs[0], call.outputs[0].shape),
    "Tile": lambda call: ("repeat", call.refs[0], tuple(call.constant(1))),
    "Cast": lambda call: ("_to_copy", call.refs[0], ElementType(call.outputs[0].dtype)),
    "Softmax": lambda call: ("softmax", call.refs[0], call.attributes.get("axis", -1)),
    "LogSoftmax": lambda call: ("log_softmax", call.refs[0], call.attributes.get("axis", -1)),
    "LayerNormalization": _norm("layer_norm"),
    "RMSNormalization": _norm("rms_norm"),
    "Gather": _gather,
    "GatherElements": lambda call: ("gather", call.refs[0], call.attributes.get("axis", 0), call.refs[1]),
    "ScatterElements": _scatter,
    "TopK": _top,
    "Split": _split,
    "Concat": lambda call: ("cat", call.refs, call.attributes["axis"]),
    "Slice": _slice,
    "Einsum": _einsum,
    "Gelu": _gelu,
    "Conv": _convolution,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    "Attention": _attention,
    "Trilu": _triangle,
}
