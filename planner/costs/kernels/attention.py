"""The attention core by generation of its kernel."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from planner.costs.kernels.memory_bound import memory_bound_seconds
from planner.costs.kernels.rates import (
    ALIGNED,
    MISALIGNED_SLOWDOWN,
    BoolArray,
    FloatArray,
    half_precision,
    peak_flops,
)
from planner.hardware.types import Accelerator, AttentionKernel

UNFUSED = "unfused"

FUSED_BACKWARD = 2.5
"""Backward FLOPs over forward FLOPs of kernels that compute the scores again (arXiv 2205.14135)."""

UNFUSED_BACKWARD = 2.0

UNFUSED_LAUNCHES = 4.0
"""Kernels of unfused attention per pass: two batched matmuls, the masked softmax, dropout or the copy of a gradient."""

SCORE_BYTES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"plain": (8.0, 14.0), "dropout": (13.0, 19.0)}
)
"""HBM bytes per score of unfused attention, forward and backward. Forward: scores written, read and written by the
softmax, read by the second matmul; backward: gradients written, read with the probabilities and written by the softmax,
read twice by matmuls, probabilities read once. Dropout is a kernel more that reads and writes them and its mask of one
byte, each way (PyTorch's native_dropout)."""

BIAS_BYTES = 4.0
"""HBM bytes per score of unfused attention that positions add to in forward (ALiBi, relative positions): the matmul accumulates
onto the bias, which is copied into its result before (written, then read; ``torch.baddbmm`` with beta = 1, as in
ParallelAttention of bigscience-workshop/Megatron-DeepSpeed). Backward needs no gradient of a bias that is not trained."""

EAGER_SOFTMAX_BYTES, EAGER_SOFTMAX_LAUNCHES = (32.0, 34.0), 4.0
"""What they move and launch more where scaling, masking and softmax are kernels of their own, in fp32 (forward_torch_softmax
of Megatron-LM's fused_softmax.py): conversions of 6 bytes at both ends and passes of 8 between, 36 instead of the fused
kernel's 4; backward 40 instead of 6."""

TRIANGLE_BYTES = (1.0, 2.0)
"""HBM bytes per score that a fused softmax under a causal mask saves: it reads what the mask leaves, half of the scores forward,
of the gradients and of the probabilities backward, and writes zeros to the rest (Megatron-LM's
megatron/fused_kernels/scaled_upper_triang_masked_softmax.h)."""

_WIDTHS = (64.0, 128.0, 256.0)


def backward_ratio(kernel: str) -> float:
    """Backward FLOPs of a generation over its forward FLOPs."""
    return UNFUSED_BACKWARD if kernel == UNFUSED else FUSED_BACKWARD


def backward_widths(kernel: str, width: float, value_width: float) -> float:
    """Width of all products of backward together: gradients of queries and keys, of values and scores, and the scores again.

    Args:
        width: of queries and keys. value_width: of values, which differs in MLA (``sdpa_backward_flop_count`` of
            torch/utils/flop_counter.py).
    """
    products = 2.0 * width + 2.0 * value_width
    return products if kernel == UNFUSED else products + width


def attention_seconds(
    flops: FloatArray,
    scores: FloatArray,
    accelerator: Accelerator,
    precision: str,
    kernel: str,
    *,
    backward: bool,
    tokens: FloatArray | float = np.inf,
    causal: bool = False,
    square: float = 2.0,
    head_dim: float = 128.0,
    dropout: bool = False,
    fused_softmax: BoolArray | bool = True,
    biased: bool = False,
    triangle: bool = False,
) -> FloatArray:
    """Seconds of the attention core of one micro-batch and layer.

    The rate of a generation of kernels on a device is lost in short blocks, time x (1 + half / tokens), and depends on the
    width of the heads (sweeps of FlashAttention-2 and 3: arXiv 2307.08691 section 4.1, arXiv 2407.08608 section 4.1).

    Args:
        flops: executed forward FLOPs (causal skipping already counted), shape (rows,).
        scores: elements of the (unskipped) score matrix, for unfused traffic.
        kernel: a generation.
        backward: the backward pass (2.5x or 2x the FLOPs).
        tokens: length of the blocks that one call computes.
        square: scores over those that the mask leaves.
        head_dim: width of a head; unfused matmuls over one that is no multiple of 8 leave the tensor cores.
        dropout: whether probabilities are dropped.
        fused_softmax: whether unfused attention scales, masks and normalises its scores in one kernel, by row or for all.
        biased: whether positions add a bias to the scores, which fused kernels make on the way.
        triangle: whether the fused softmax of unfused attention reads only what a causal mask leaves.
    """
    kernels = accelerator.kernels
    table = kernels.attention_backward if backward else kernels.attention_forward
    base = "fp32" if precision in ("fp32", "tf32") else half_precision(accelerator)
    shape = kernels.attention_kernels.get(kernel, AttentionKernel())
    rate = peak_flops(accelerator, base) * table[kernel]
    work = flops * (backward_ratio(kernel) if backward else 1.0) / rate
    masked = causal and kernel != UNFUSED  # which computes the whole square
    short = 1.0 + shape.full_half / tokens
    if masked:  # at worst the whole square
        short = np.minimum(1.0 + shape.causal_half / tokens, square * short)
    if kernel != UNFUSED:
        return work * short / _width_factor(shape, head_dim, kernels.matmul_array) + np.where(
            flops > 0, kernels.launch_s, 0.0
        )
    if head_dim % ALIGNED:
        work = work * MISALIGNED_SLOWDOWN
    skipped = TRIANGLE_BYTES[backward] if triangle else 0.0
    per_score = SCORE_BYTES["dropout" if dropout else "plain"][backward] + np.where(
        fused_softmax, -skipped, EAGER_SOFTMAX_BYTES[backward]
    )
    launches = UNFUSED_LAUNCHES + np.where(fused_softmax, 0.0, EAGER_SOFTMAX_LAUNCHES)
    if biased and not backward:
        per_score, launches = per_score + BIAS_BYTES, launches + 1.0
    moved = memory_bound_seconds(scores * per_score * short, accelerator, launches=launches)
    return work + moved


def _width_factor(shape: AttentionKernel, head_dim: float, array: float) -> float:
    """Rate over that with heads of 128; between and beyond the measured widths on straight lines, no further.

    One side of each product is as wide as a head: the part of a systolic array that it fills works.
    """
    if array > 1.0:
        return min(head_dim, array) / min(_WIDTHS[1], array)
    return float(np.interp(head_dim, _WIDTHS, (shape.width_64, 1.0, shape.width_256)))
