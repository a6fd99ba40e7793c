"""What one operator costs, and whether a framework fuses it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import BoolArray, FloatArray, Sizes

SOFTMAX_BATCH = 4
"""Megatron-LM's fused softmax takes matrices of scores by fours; any other number goes to kernels of their own
(``attn_batches % 4`` in is_kernel_available of megatron/model/fused_softmax.py)."""


@dataclass(frozen=True)
class OperatorCost:
    """Arrays of shape (rows,) for one micro-batch: seconds of forward, input gradient and weight gradient; FLOPs; launches.

    FLOPs count matmuls and attention as PyTorch's FlopCounterMode does: the full square even when causal.
    """

    forward_s: FloatArray
    input_gradient_s: FloatArray
    weight_gradient_s: FloatArray
    forward_flops: FloatArray
    backward_flops: FloatArray
    launches_forward: FloatArray
    launches_backward: FloatArray


def operator_result(
    sizes: Sizes,
    forward: FloatArray | float,
    input_gradient: FloatArray | float,
    weight_gradient: FloatArray | float = 0.0,
    flops: tuple[FloatArray | float, FloatArray | float] = (0.0, 0.0),
    launches: tuple[FloatArray | float, FloatArray | float] = (1.0, 1.0),
) -> OperatorCost:
    """The cost of one operator from arrays or plain numbers; (forward, backward) for FLOPs and launches."""
    zero = np.zeros(len(sizes.layouts))
    return OperatorCost(
        *(zero + part for part in (forward, input_gradient, weight_gradient, *flops, *launches))
    )


def fused(sizes: Sizes, what: str) -> bool:
    """Whether the framework (or a compiler) runs this pattern as one kernel."""
    return sizes.job.training.compile or what in sizes.job.framework.fusions


def one_kernel(sizes: Sizes, what: str) -> bool:
    """The same of its time: cores run operators one by one, whatever a framework fuses for GPUs (and so keeps less of)."""
    return fused(sizes, what) and not sizes.job.cluster.accelerator.synchronous


def one_softmax(sizes: Sizes, matrices: FloatArray) -> BoolArray:
    """Whether one kernel scales, masks and normalises the scores of unfused attention, shape (rows,).

    Args:
        matrices: of scores on the rank, one per sequence and head.
    """
    by = SOFTMAX_BATCH if "causal_softmax" in sizes.job.framework.fusions else 1
    return np.asarray(fused(sizes, "softmax") & (matrices % by == 0))
