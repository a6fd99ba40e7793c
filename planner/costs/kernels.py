"""Time of kernels on one device: matmul, attention, memory-bound, optimizer. Docs: docs/cost-model.md."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError
from planner.hardware.types import Accelerator

FloatArray = NDArray[np.float64]

ATTENTION_BACKWARD = {"flash": 2.5, "triton": 2.5, "cudnn": 2.5, "unfused": 2.0}
"""Backward FLOPs over forward FLOPs: flash kernels compute the scores again (arXiv 2205.14135)."""

SCORE_BYTES_FORWARD, SCORE_BYTES_BACKWARD = 16.0, 24.0
"""HBM bytes per score element of unfused attention: writes and reads of scores, softmax and (dropped) probabilities."""


LOW_PRECISIONS = ("fp8", "mxfp8", "nvfp4", "int8")
"""Precisions of matmuls whose operands are kept in 16 bits and cast before each use."""

CAST_BYTES: Mapping[str, float] = {"tensorwise": 6.0, "rowwise": 6.0}
"""HBM bytes per element of a cast: 16 bits read, the 8-bit copy and its transpose written; scales of the tensor at hand
need one more read. Recipes that are not listed: 4."""


RECIPE_SLOWDOWN: Mapping[str, float] = {"rowwise": 1.6}
"""Matmul time of an 8-bit recipe over one scale per tensor: scales per row are applied inside the kernel (torchtitan's Llama 3
70B on 256 H100, June 2025: 27.3 s row by row, 20.2 s per tensor)."""

ALIGNED, MISALIGNED_SLOWDOWN = 8, 10.0
"""16-bit operands of tensor cores are read in rows of 8; matmuls over other widths are some ten times slower (BLOOM's
throughput runs on A100: 147 - 163 s with heads of 108 against 104 - 121 s with heads of 144 and 216)."""


def peak_flops(accelerator: Accelerator, precision: str) -> float:
    """Dense FLOP/s of the device for a precision.

    Raises:
        PlannerError: the device has no such rate.
    """
    rate = accelerator.peak_flops.get(precision)
    if rate is None and precision in ("mxfp8", "int8"):
        rate = accelerator.peak_flops.get("fp8")
    if rate is None:
        known = ", ".join(sorted(accelerator.peak_flops))
        raise PlannerError(
            f"{accelerator.name} has no {precision} rate; it has {known}", field="training.precision"
        )
    return float(rate)


def matmul_seconds(
    m: FloatArray,
    n: FloatArray,
    k: FloatArray,
    accelerator: Accelerator,
    precision: str,
    element_bytes: float = 2.0,
) -> FloatArray:
    """Seconds of C[m, n] = A[m, k] B[k, n] on one device.

    The plateau rate is lost at small sizes, time x (1 + k_half / k + mn_half / min(m, n)); a roofline against HBM; a
    launch floor. Constants belong to the accelerator and precision.

    Args:
        m, n, k: sizes, shape (rows,).
        element_bytes: of the operands.
    """
    kernels = accelerator.kernels
    plateau = kernels.matmul_efficiency.get(precision, kernels.matmul_efficiency.get("bf16", 0.78))
    flops = 2.0 * m * n * k
    small = 1.0 + kernels.matmul_k_half / np.maximum(k, 1.0)
    small = small + kernels.matmul_mn_half / np.maximum(np.minimum(m, n), 1.0)
    compute = flops / (peak_flops(accelerator, precision) * plateau) * small
    traffic = (
        (m * k + k * n + m * n) * element_bytes / (accelerator.memory_bandwidth * kernels.memory_efficiency)
    )
    return np.maximum(compute, traffic) + np.where(flops > 0, kernels.launch_s, 0.0)


def memory_bound_seconds(nbytes: FloatArray, accelerator: Accelerator, launches: float = 1.0) -> FloatArray:
    """Seconds of a kernel that moves ``nbytes`` through HBM (reads plus writes), with a ramp for small sizes."""
    kernels = accelerator.kernels
    rate = accelerator.memory_bandwidth * kernels.memory_efficiency
    ramp = np.where(nbytes > 0, kernels.memory_ramp_bytes / rate * 0.5 * launches, 0.0)
    return nbytes / rate + np.minimum(ramp, kernels.launch_s * launches)


def cast_seconds(
    elements: FloatArray, accelerator: Accelerator, precision: str, recipe: str | None
) -> FloatArray:
    """Seconds to cast a matmul's operand to its precision; weights are cast once per step, which is not counted."""
    if precision not in LOW_PRECISIONS:
        return np.zeros_like(elements)
    width = CAST_BYTES.get(recipe or "", 4.0) * accelerator.kernels.cast_factor
    return memory_bound_seconds(width * elements, accelerator)


def attention_seconds(
    flops: FloatArray,
    scores: FloatArray,
    accelerator: Accelerator,
    precision: str,
    kernel: str,
    *,
    backward: bool,
    half: FloatArray | float = 0.0,
    head_dim: int | None = None,
) -> FloatArray:
    """Seconds of the attention core of one micro-batch and layer.

    Args:
        flops: executed forward FLOPs (causal skipping already counted), shape (rows,).
        scores: elements of the (unskipped) score matrix, for unfused traffic.
        kernel: flash | triton | cudnn | unfused.
        backward: the backward pass (2.5x or 2x the FLOPs).
        half: share of time that short blocks add to a flash kernel.
        head_dim: width of a head; unfused matmuls over one that is no multiple of 8 leave the tensor cores.
    """
    kernels = accelerator.kernels
    table = kernels.attention_backward if backward else kernels.attention_forward
    base = (
        "fp32" if precision in ("fp32", "tf32") else ("bf16" if "bf16" in accelerator.peak_flops else "fp16")
    )
    rate = peak_flops(accelerator, base) * table[kernel]
    work = flops * (ATTENTION_BACKWARD[kernel] if backward else 1.0) / rate
    if kernel != "unfused":
        return work * (1.0 + half) + np.where(flops > 0, kernels.launch_s, 0.0)
    if head_dim is not None and head_dim % ALIGNED:
        work = work * MISALIGNED_SLOWDOWN
    traffic = scores * (SCORE_BYTES_BACKWARD if backward else SCORE_BYTES_FORWARD)
    return work + memory_bound_seconds(traffic, accelerator, launches=4.0)


def optimizer_seconds(nbytes: FloatArray, accelerator: Accelerator) -> FloatArray:
    """Seconds to stream the optimizer's state once: bytes read and written over the achieved HBM bandwidth."""
    return memory_bound_seconds(nbytes, accelerator)
