"""Seconds of one operator on one rank, for every way to split it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from planner.costs.kernels import (
    attention_seconds,
    matmul_seconds,
    memory_bound_seconds,
    optimizer_seconds,
)
from planner.costs.kernels.rates import half_precision
from planner.hardware.types import Accelerator
from planner.models.operator_graph.types import DTYPE_BYTES, Dims, GraphOperator, OperatorGraph
from planner.solvers.sharding.placement import DeviceMesh, Floats
from planner.solvers.sharding.strategies import Strategy, local_axes

PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8", "float8_e5m2": "fp8"}
"""PyTorch's dtypes -> precisions of accelerators; all others compute in fp32."""

TRAFFIC: dict[str, tuple[float, float]] = {
    "elementwise": (1.0, 1.0),
    "norm": (1.0, 2.0),
    "softmax": (1.0, 1.5),
    "reduce": (1.0, 1.0),
    "select": (1.0, 1.0),
    "loss": (2.0, 1.0),
    "opaque": (1.0, 1.0),
}
"""Memory traffic over inputs and outputs together, forward and backward: norms read their input for two gradients, a softmax's
backward reads two tensors and writes one, a loss reads the logits for the maximum and again for the sum."""

ADAM_BYTES = 28
"""HBM traffic per parameter of one step of Adam: parameter, gradient and both moments read, three of them written in fp32; with
16-bit parameters the same sum (2 + 2 + 3 x 4 read, 3 x 4 written, and the copy)."""


def operator_seconds(
    operator: GraphOperator,
    graph: OperatorGraph,
    chosen: Sequence[Strategy],
    mesh: DeviceMesh,
    accelerator: Accelerator,
    *,
    training: bool,
) -> Floats:
    """(strategies,): seconds of forward, in training with both gradients, communication left out.

    Matrix products, attention and memory-bound kernels are priced by the functions that price whole layouts
    (docs/cost-model.md). Views cost nothing.
    """
    lengths = [local_axes(operator, strategy.split, mesh) for strategy in chosen]
    axes = {name: np.array([local[name] for local in lengths]) for name in operator.axes}
    if operator.kind in ("matmul", "convolution"):
        return _products(operator, graph, axes, accelerator, training=training)
    if operator.kind == "attention":
        return _attention(operator, graph, axes, accelerator, training=training)
    if operator.kind == "view":
        return np.zeros(len(chosen))
    return _streamed(operator, graph, axes, accelerator, training=training)


def update_seconds(elements: Floats, accelerator: Accelerator) -> Floats:
    """Seconds of one step of Adam on so many parameters of one tensor."""
    return optimizer_seconds(ADAM_BYTES * elements, accelerator)


def _elements(dims: Dims, axes: dict[str, Floats]) -> Floats:
    rows = len(next(iter(axes.values()))) if axes else 1
    return math.prod((axes[axis] for dim in dims for axis in dim), start=np.ones(rows))


def _local_flops(operator: GraphOperator, axes: dict[str, Floats]) -> Floats:
    """FLOPs on one rank: every axis that is split takes its share."""
    return math.prod(
        (axes[axis] / length for axis, length in operator.axes.items()),
        start=np.full(len(next(iter(axes.values()))), float(operator.flops)),
    )


def _products(
    operator: GraphOperator,
    graph: OperatorGraph,
    axes: dict[str, Floats],
    accelerator: Accelerator,
    *,
    training: bool,
) -> Floats:
    """Grouped m x n x k products: axes of both operands and the result are groups; k follows from the FLOPs."""
    left, right = ({axis for dim in dims for axis in dim} for dims in operator.input_dims[:2])
    out = {axis for dim in operator.output_dims[0] for axis in dim}
    ones = np.ones(len(next(iter(axes.values()))))
    groups = math.prod((axes[axis] for axis in sorted(left & right & out)), start=ones)
    n = math.prod((axes[axis] for axis in sorted((right - left) & out)), start=ones)
    m = math.prod((axes[axis] for axis in sorted(out)), start=ones) / (groups * n)
    k = np.maximum(_local_flops(operator, axes) / (2.0 * groups * m * n), 1.0)
    dtype = graph.values[operator.inputs[0]].dtype
    precision = _precision(dtype, accelerator)

    def seconds(rows: Floats, columns: Floats, depth: Floats) -> Floats:
        return matmul_seconds(
            rows, columns, depth, accelerator, precision, float(DTYPE_BYTES[dtype]), groups=groups
        )

    total = seconds(m, n, k)
    if training and graph.values[operator.inputs[0]].gradient:
        total = total + seconds(m, k, n)
    if training and graph.values[operator.inputs[1]].gradient:
        total = total + seconds(k, n, m)
    return total


def _attention(
    operator: GraphOperator,
    graph: OperatorGraph,
    axes: dict[str, Floats],
    accelerator: Accelerator,
    *,
    training: bool,
) -> Floats:
    """Scores of every head; half of them where a causal mask lets kernels skip."""
    shape = graph.values[operator.inputs[0]].shape
    head_dim, tokens = float(shape[-1]), float(shape[-2])
    causal = operator.causal
    flops = _local_flops(operator, axes) * (0.5 if causal else 1.0)
    scores = flops / (4.0 * head_dim)
    precision = _precision(graph.values[operator.inputs[0]].dtype, accelerator)
    kernel = "flash_cpu" if accelerator.synchronous else "flash2"
    forward, backward = (
        attention_seconds(
            flops, scores, accelerator, precision, kernel,
            backward=backward, tokens=tokens, causal=causal, head_dim=head_dim,
        )
        for backward in (False, True)
    )  # fmt: skip
    wanted = training and any(graph.values[name].gradient for name in operator.inputs)
    return forward + backward if wanted else forward


def _streamed(
    operator: GraphOperator,
    graph: OperatorGraph,
    axes: dict[str, Floats],
    accelerator: Accelerator,
    *,
    training: bool,
) -> Floats:
    """Kernels that wait for memory: bytes of inputs and outputs, backward the same for the gradients."""
    names = (*operator.inputs, *operator.outputs)
    dims = (*operator.input_dims, *operator.output_dims)
    sizes = [
        DTYPE_BYTES[graph.values[name].dtype] * _elements(item, axes)
        for name, item in zip(names, dims, strict=True)
    ]
    written, moved = np.sum(sizes[len(operator.inputs) :], axis=0), np.sum(sizes, axis=0)
    wanted = training and any(graph.values[name].gradient for name in operator.inputs)
    if (
        operator.kind == "embedding"
    ):  # rows are read and written; backward also clears a gradient as large as the table
        forward, backward = 2.0 * written, 2.0 * written + sizes[0]
    else:
        forward, backward = (factor * moved for factor in TRAFFIC[operator.kind])
    total = memory_bound_seconds(forward, accelerator)
    return total + memory_bound_seconds(backward, accelerator) if wanted else total


def _precision(dtype: str, accelerator: Accelerator) -> str:
    """The precision that a product of this dtype runs in on the device."""
    wanted = PRECISIONS.get(dtype, "fp32")
    return wanted if wanted in accelerator.peak_flops else half_precision(accelerator)
