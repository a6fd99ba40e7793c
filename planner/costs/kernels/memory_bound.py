"""Kernels that wait for memory: element-wise operators, casts, the optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.kernels.rates import LOW_PRECISIONS, FloatArray
from planner.hardware.types import Accelerator

CAST_BYTES: Mapping[str, float] = {"fp8": 1.0, "mxfp8": 1.0 + 1.0 / 32.0, "nvfp4": 0.5 + 1.0 / 16.0}
"""Bytes of a cast matmul input per element, block scales included (one byte per 32 elements of mxfp8, per 16 of nvfp4)."""

BOTH_WAYS = ("mxfp8", "nvfp4")
"""Formats whose scales belong to a direction: what two products read along different axes is cast in two copies."""

TRANSPOSED = ("hopper", "ada")
"""Architectures whose 8-bit matmuls read both operands along the contraction, so that each cast writes a transpose for the
products of backward; later ones take any order (``nvte_is_non_tn_fp8_gemm_supported`` of NVIDIA/TransformerEngine)."""

SCALED_FIRST = ("tensorwise", "rowwise")
"""Recipes that read the tensor at hand once more to find its scales; so does nvfp4."""

EAGER_LAUNCHES: Mapping[str, float] = {"norm": 2.0}
"""Kernels of an unfused operator, where more than one: a norm reduces its rows before it scales them."""


def memory_bound_seconds(
    nbytes: FloatArray,
    accelerator: Accelerator,
    launches: FloatArray | float = 1.0,
    operator: str | None = None,
) -> FloatArray:
    """Seconds of kernels that move bytes through HBM: at the achieved bandwidth, and not below the shortest kernels.

    Args:
        nbytes: reads plus writes, shape (rows,); nothing moved is no kernel.
        launches: kernels that share the bytes.
        operator: norm, activation or add: the unfused kernel of an eager framework, whose ``nbytes`` are ideal.
    """
    kernels = accelerator.kernels
    efficiency = kernels.memory_efficiency if operator is None else kernels.eager[operator]
    launches = launches * EAGER_LAUNCHES.get(operator or "", 1.0)
    streamed = nbytes / (accelerator.memory_bandwidth * efficiency)
    return np.where(nbytes > 0, np.maximum(streamed, kernels.floor_s * launches), 0.0)


def cast_seconds(
    elements: FloatArray, accelerator: Accelerator, precision: str, recipe: str | None
) -> FloatArray:
    """Seconds to cast a matmul's operand to its precision; weights are cast once per step, which is not counted.

    Of HBM traffic per element: 16 bits read, once more where scales are found first, and one or two copies written.
    """
    if precision not in LOW_PRECISIONS:
        return np.zeros_like(elements)
    reads = 4.0 if recipe in SCALED_FIRST or precision == "nvfp4" else 2.0
    twice = precision in BOTH_WAYS or recipe == "rowwise" or accelerator.architecture in TRANSPOSED
    width = reads + CAST_BYTES.get(precision, 1.0) * (2.0 if twice else 1.0)
    return memory_bound_seconds(width * accelerator.kernels.cast_factor * elements, accelerator)


def optimizer_seconds(nbytes: FloatArray, accelerator: Accelerator) -> FloatArray:
    """Seconds to stream the optimizer's state once: bytes read and written over the achieved HBM bandwidth."""
    return memory_bound_seconds(nbytes, accelerator)
