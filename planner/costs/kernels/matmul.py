"""Matrix products: tiles in waves over the device's compute units, or a ramp where it has none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.kernels.rates import FloatArray, half_precision, peak_flops
from planner.hardware.types import Accelerator

RECIPE_SLOWDOWN: Mapping[str, float] = {"rowwise": 1.6}
"""Matmul time of an 8-bit recipe over one scale per tensor: scales per row are applied inside the kernel (torchtitan's Llama 3
70B on 256 H100, June 2025: 27.3 s row by row, 20.2 s per tensor)."""

TILES = np.array([(128, 256), (256, 128), (128, 128), (128, 64), (64, 128)], dtype=np.float64)
"""Rows and columns of the output that one unit computes at a time; libraries choose among such shapes. (More shapes and more
splits explain no more of the measured matmuls.)"""

SPLITS = (1.0, 4.0)
"""Parts into which the contraction is cut so that more units work (split-K)."""

PARTIAL_BYTES = 4.0
"""HBM bytes per output element and part of a split contraction, in fp32; what the last part reads stays in the cache."""

GROUPED_SHARPNESS = 1.3
"""The same for the products of experts: each is a kernel of its own with few waves, whose operands arrive before its first
product and whose result, with the gradient that it is added to, moves after its last, so that both nearly add up. Chosen among
1, 1.3, 2 and 4, each refitted to published runs (docs/cost-model.md)."""

STRIDE_BYTES = 4096
"""Rows of an operand that lie a multiple of this apart meet in the same memory channels and cache sets."""

WIDEST_LOAD = 16
"""Bytes that one thread reads at once; kernels whose operands' rows start at no multiple of it read less at a time."""

ODD_SLOWDOWN = 3.0
"""Time of a product over 16-bit rows of an odd length over that of aligned ones: the head of a vocabulary not padded (Netflix
Technology Blog, "Scaling LLM Post-Training at Netflix", February 2026: "tripling that layer's execution time"). Rows of an odd
multiple of 2 or 4 elements are read in pieces of 4 or 8 bytes instead of 2: each doubling takes a third of the logarithm off."""

SHARPNESS = 4.0
"""Exponent that joins computing and streaming: (compute^4 + traffic^4)^(1/4), their maximum with a rounded corner."""


def matmul_seconds(
    m: FloatArray,
    n: FloatArray,
    k: FloatArray,
    accelerator: Accelerator,
    precision: str,
    element_bytes: float = 2.0,
    *,
    result_bytes: FloatArray | float | None = None,
    groups: FloatArray | float = 1.0,
    strides: tuple[FloatArray, FloatArray, FloatArray] | None = None,
) -> FloatArray:
    """Seconds of C[m, n] = A[m, k] B[k, n] on one device, in one launch.

    Args:
        m, n, k: sizes, shape (rows,).
        element_bytes: of the operands.
        result_bytes: of HBM traffic per element of the result, that of the operands by default; 8 where it is added to fp32.
        groups: equal products that share the launch and its waves (grouped matmul of experts).
        strides: distance of the rows of A, of B (of its transpose) and of C, in elements; a linear layer forward by default.
    """
    kernels, rate = accelerator.kernels, matmul_rate(accelerator, precision)
    result = element_bytes if result_bytes is None else result_bytes
    traffic = groups * ((m * k + k * n) * element_bytes + m * n * result)
    if accelerator.compute_units is None:
        streamed = traffic / (accelerator.memory_bandwidth * kernels.memory_efficiency)
        busy = np.maximum(groups * _ramp(m, n, k, accelerator, rate), streamed)
    else:
        streamed = traffic / (accelerator.memory_bandwidth * kernels.matmul_traffic)
        tiled = _tiled(m, n, k, np.asarray(groups, dtype=np.float64), accelerator, precision, rate)
        rows = strides or (k, k, n)
        tiled = tiled * _stride_loss(rows, element_bytes, kernels.matmul_stride)
        tiled = tiled * misaligned(rows, element_bytes)
        sharpness = np.where(np.asarray(groups) > 1.0, GROUPED_SHARPNESS, SHARPNESS)
        busy = (tiled**sharpness + streamed**sharpness) ** (1.0 / sharpness)
    return np.where(m * n * k > 0, busy + kernels.launch_s, 0.0)


def matmul_rate(accelerator: Accelerator, precision: str) -> float:
    """FLOP/s that large products reach and none exceeds."""
    efficiency = accelerator.kernels.matmul_efficiency
    return peak_flops(accelerator, precision) * efficiency.get(precision, efficiency.get("bf16", 0.78))


def _ramp(m: FloatArray, n: FloatArray, k: FloatArray, accelerator: Accelerator, rate: float) -> FloatArray:
    """Time x (1 + k_half / k + mn_half / min(m, n)): the plateau is lost at small sizes."""
    kernels = accelerator.kernels
    small = 1.0 + kernels.matmul_k_half / np.maximum(k, 1.0)
    small = small + kernels.matmul_mn_half / np.maximum(np.minimum(m, n), 1.0)
    across = np.minimum(_padding(m, kernels.matmul_array), _padding(n, kernels.matmul_array))
    return np.asarray(2.0 * m * n * k / rate * small * _padding(k, kernels.matmul_array) * across)


def _padding(size: FloatArray, array: float) -> FloatArray:
    """Size rounded up to whole arrays, over the size: an array holds a part of one operand and the other streams through."""
    whole = np.maximum(size, 1.0)
    return np.asarray(np.ceil(whole / array) * array / whole) if array > 1.0 else np.ones_like(whole)


def _tiled(
    m: FloatArray,
    n: FloatArray,
    k: FloatArray,
    groups: FloatArray,
    accelerator: Accelerator,
    precision: str,
    rate: float,
) -> FloatArray:
    """Waves of tiles over the compute units, with the tile and the split that are fastest.

    A tile of r x c outputs takes 2 r c (k + k0) / (rate of one unit), more by edge (1/r + 1/c) for narrow ones, whose
    operands are used fewer times; k0 is the time to fill and drain its pipeline, which does not shrink with the precision.
    Of the last wave a share is paid in full: units that are done early take from the next kernel, or raise the clock.
    """
    kernels, units = accelerator.kernels, float(accelerator.compute_units or 1)
    faster = peak_flops(accelerator, precision) / peak_flops(accelerator, half_precision(accelerator))
    fill = kernels.matmul_tile_k * max(faster, 1.0)
    edge = 1.0 + kernels.matmul_tile_edge * (1.0 / TILES).sum(axis=1)
    edge = edge / edge.min()
    down = {size: np.ceil(m / size) for size in np.unique(TILES[:, 0])}
    across = {size: groups / units * np.ceil(n / size) for size in np.unique(TILES[:, 1])}
    partial = PARTIAL_BYTES * groups * m * n / (accelerator.memory_bandwidth * kernels.matmul_traffic)
    depth = {split: k / split + fill for split in SPLITS}
    best: FloatArray | None = None
    for (rows, columns), loss in zip(TILES, edge, strict=True):
        tiles = down[rows] * across[columns]
        work = 2.0 * rows * columns * loss * units / rate
        for split in SPLITS:
            waves = tiles * split
            paid = kernels.matmul_wave * np.ceil(waves) + (1.0 - kernels.matmul_wave) * np.maximum(waves, 1.0)
            seconds = paid * (work * depth[split])
            if split > 1.0:
                seconds = seconds + split * partial
            best = seconds if best is None else np.minimum(best, seconds)
    return np.asarray(best)


def misaligned(strides: tuple[FloatArray, FloatArray, FloatArray], element_bytes: float) -> FloatArray:
    """Slow-down of tensor cores by the narrowest loads that the rows of operands and result allow: 16, 8, 4 or 2 bytes."""
    halvings = [
        sum(((stride * element_bytes) % (WIDEST_LOAD >> half) != 0).astype(np.float64) for half in range(3))
        for stride in strides
    ]
    return np.asarray(ODD_SLOWDOWN ** (np.maximum.reduce(halvings) / 3.0))


def _stride_loss(
    strides: tuple[FloatArray, FloatArray, FloatArray], element_bytes: float, loss: float
) -> FloatArray:
    """Slow-down by rows that lie a multiple of 4 KiB apart: half of ``loss`` for each operand, a third for the result."""
    left, right, out = (((stride * element_bytes) % STRIDE_BYTES == 0) for stride in strides)
    return np.asarray((1.0 + loss / 2.0 * left) * (1.0 + loss / 2.0 * right) * (1.0 + loss / 3.0 * out))
