"""Kernels that wait for memory: element-wise operators, casts, the optimizer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.kernels.rates import LOW_PRECISIONS, FloatArray
from planner.hardware.types import Accelerator

CAST_BYTES: Mapping[str, float] = {"tensorwise": 6.0, "rowwise": 6.0}
"""HBM bytes per element of a cast: 16 bits read, the 8-bit copy and its transpose written; scales of the tensor at hand
need one more read. Recipes that are not listed: 4."""

EAGER_LAUNCHES: Mapping[str, float] = {"norm": 2.0}
"""Kernels of an unfused operator, where more than one: a norm reduces its rows before it scales them."""


def memory_bound_seconds(
    nbytes: FloatArray, accelerator: Accelerator, launches: float = 1.0, operator: str | None = None
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
    """Seconds to cast a matmul's operand to its precision; weights are cast once per step, which is not counted."""
    if precision not in LOW_PRECISIONS:
        return np.zeros_like(elements)
    width = CAST_BYTES.get(recipe or "", 4.0) * accelerator.kernels.cast_factor
    return memory_bound_seconds(width * elements, accelerator)


def optimizer_seconds(nbytes: FloatArray, accelerator: Accelerator) -> FloatArray:
    """Seconds to stream the optimizer's state once: bytes read and written over the achieved HBM bandwidth."""
    return memory_bound_seconds(nbytes, accelerator)
