"""Peak rates by precision, and what all kernels share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.errors import PlannerError
from planner.hardware.types import Accelerator

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

LOW_PRECISIONS = ("fp8", "mxfp8", "nvfp4", "int8")
"""Precisions of matmuls whose operands are kept in 16 bits and cast before each use."""

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


def half_precision(accelerator: Accelerator) -> str:
    """The 16-bit precision that the device computes in (fp32 where it has none)."""
    return next((name for name in ("bf16", "fp16") if name in accelerator.peak_flops), "fp32")
