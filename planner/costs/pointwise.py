"""Operators that are bound by memory: norms, activations, additions, embeddings, dropout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planner.costs.kernels import memory_bound_seconds
from planner.costs.operator_cost import OperatorCost, one_kernel, operator_result
from planner.costs.sizes import Sizes
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator


@dataclass(frozen=True)
class _Passes:
    """Reads and writes of a memory-bound operator, as multiples of its input and output bytes when fused.

    Unfused it launches ``apart`` kernels. They move as many times the bytes, or run at the eager efficiency of a measured
    operator (``eager``), which holds for the ideal bytes.
    """

    forward_in: float
    forward_out: float
    backward_in: float
    backward_out: float
    fusion: str | None
    apart: float
    eager: str | None = None


class _Kernels(NamedTuple):
    """Kernels of an operator, forward and backward: HBM traffic over that of one fused kernel, launches, and the measured
    operator at whose rate an eager one runs."""

    traffic: tuple[float, float]
    launches: tuple[float, float]
    eager: str | None = None


_WRITTEN_OUT_NORM = _Kernels((9.0, 14.0), (6.0, 14.0))
"""An RMSNorm that is written out in fp32, against 4 and 6 bytes per element of one kernel.

Forward 36 bytes: to fp32 (6), square (8), mean (4), scale (8), back to 16 bits (6), times the weight (4). Backward 84: products
with the weight and the scaled input, summed (12), to fp32 (6), gradients of the scale (24) and of the square (24), their sum
(12), back to 16 bits (6) (RMSNorm of pytorch/torchtitan, torchtitan/models/norms.py, 2024)."""

_PASSES: Mapping[str, _Passes] = {
    "norm": _Passes(1, 1, 2, 1, "norm", 3.0, "norm"),
    "activation": _Passes(1, 1, 2, 1, "activation", 2.0, "activation"),
    "multiply": _Passes(1, 1, 2, 1, "activation", 1.0, "activation"),
    # to fp32 (6 bytes per element), complex product (8), back (6) against the 4 of one kernel; as many in 16 bits with
    # halves swapped, two products and a sum
    "rope": _Passes(1, 1, 1, 1, "rope", 5.0),
    "residual": _Passes(1, 1, 0, 0, None, 1.0),
    "add": _Passes(1, 1, 0, 0, None, 1.0),
    "embedding": _Passes(0, 2, 0, 3, None, 1.0),
    "router": _Passes(2, 2, 2, 2, None, 1.0),
    "conv": _Passes(1, 1, 2, 2, None, 1.0),
    "pool": _Passes(0, 1, 0, 1, None, 1.0),
}


def pointwise(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """Cost of an operator that works element by element, or that reads each element once."""
    if operator.kind == "dropout":
        return _dropout(operator, block, derivation, sizes)
    passes = _PASSES[operator.kind]
    rule = derivation.rules[operator.name]
    read = np.zeros(len(sizes.layouts))
    for name, placement in zip(operator.inputs, rule.inputs, strict=True):
        if name in block.tensors and operator.kind != "embedding":
            read = read + sizes.bytes(block.tensors[name], placement)
    written = sizes.bytes(block.tensors[operator.output], rule.output)
    kernels = _kernels(operator, passes, sizes)
    accelerator, factor = sizes.job.cluster.accelerator, sizes.job.framework.elementwise_factor
    ideal = (
        passes.forward_in * read + passes.forward_out * written,
        passes.backward_in * read + passes.backward_out * written,
    )
    forward, backward = (
        memory_bound_seconds(factor * times * nbytes, accelerator, operator=kernels.eager)
        for times, nbytes in zip(kernels.traffic, ideal, strict=True)
    )
    return operator_result(sizes, forward, backward, launches=kernels.launches)


def _kernels(operator: Operator, passes: _Passes, sizes: Sizes) -> _Kernels:
    """How the framework runs an operator."""
    if writes_out_norm(operator, sizes):
        return _WRITTEN_OUT_NORM
    whole = passes.fusion is None or one_kernel(sizes, passes.fusion)
    apart, eager = (1.0, None) if whole else (passes.apart, passes.eager)
    times = apart if eager is None else 1.0
    backwards = apart if passes.backward_in + passes.backward_out else 0.0
    return _Kernels((times, times), (apart, backwards), eager)


def writes_out_norm(operator: Operator, sizes: Sizes) -> bool:
    """Whether an operator is an RMSNorm of separate kernels in fp32, which no compiler fuses."""
    apart = sizes.job.framework.buffers.norm_copies and not sizes.job.training.compile
    return apart and operator.kind == "norm" and operator.attributes.get("norm") == "rms"


def _dropout(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """Nothing without dropout; fused into the residual add by most frameworks (then only the mask travels)."""
    if sizes.job.training.dropout <= 0:
        return operator_result(sizes, 0.0, 0.0, launches=(0.0, 0.0))
    tensor = block.tensors[operator.output]
    elements = sizes.elements(tensor, derivation.rules[operator.name].output)
    apart = 0.0 if one_kernel(sizes, "dropout_add") else 2.0 * sizes.element_bytes(tensor)
    accelerator = sizes.job.cluster.accelerator
    moved = elements * (1.0 + apart) * sizes.job.framework.elementwise_factor
    seconds = memory_bound_seconds(moved, accelerator)
    launches = 0.0 if apart == 0.0 else 1.0
    return operator_result(sizes, seconds, seconds, launches=(launches, launches))
