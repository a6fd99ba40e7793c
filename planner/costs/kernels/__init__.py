"""Time of kernels on one device: matmul, attention, memory-bound, optimizer. Docs: docs/cost-model.md."""

from planner.costs.kernels.attention import (
    EAGER_SOFTMAX_LAUNCHES,
    attention_seconds,
    backward_ratio,
    backward_widths,
)
from planner.costs.kernels.matmul import RECIPE_SLOWDOWN, matmul_rate, matmul_seconds
from planner.costs.kernels.memory_bound import (
    BOTH_WAYS,
    CAST_BYTES,
    cast_seconds,
    memory_bound_seconds,
    optimizer_seconds,
)
from planner.costs.kernels.rates import LOW_PRECISIONS, FloatArray, peak_flops

__all__ = [
    "BOTH_WAYS",
    "CAST_BYTES",
    "EAGER_SOFTMAX_LAUNCHES",
    "LOW_PRECISIONS",
    "RECIPE_SLOWDOWN",
    "FloatArray",
    "attention_seconds",
    "backward_ratio",
    "backward_widths",
    "cast_seconds",
    "matmul_rate",
    "matmul_seconds",
    "memory_bound_seconds",
    "optimizer_seconds",
    "peak_flops",
]
