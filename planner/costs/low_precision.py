"""Tensors that matmuls in 8 bits or fewer read: where frameworks cast them before they travel and keep only the copy."""

from __future__ import annotations

from planner.costs.kernels import BOTH_WAYS, CAST_BYTES, LOW_PRECISIONS
from planner.costs.operators import matmul_precision
from planner.costs.sizes import Sizes
from planner.layouts.sharding import Exchange
from planner.models.graph import Block, Operator


def multiplied_low(operator: Operator, sizes: Sizes) -> bool:
    """Whether an operator is a matmul whose operands are cast to 8 bits or fewer."""
    cast = sizes.job.training.precision in CAST_BYTES
    return cast and operator.kind == "einsum" and matmul_precision(operator, sizes) in LOW_PRECISIONS


def gathered_bytes(exchange: Exchange, block: Block, sizes: Sizes) -> float | None:
    """Bytes per element of a tensor that is gathered over tp as cast for its matmuls; None: as it is.

    Transformer Engine casts the rank's part and gathers the copy, in forward, again for the weight gradient, and of the
    gradients of row-parallel outputs (``gather_along_first_dim`` with a quantizer, ``grad_output_preprocess``; NVIDIA/
    TransformerEngine, transformer_engine/pytorch/distributed.py and module/base.py). torchtitan does with one scale per tensor
    (``Float8ColwiseParallel`` and ``Float8RowwiseParallel`` of pytorch/ao). Reductions stay in 16 bits.
    """
    if exchange.axis != "tp" or exchange.collective != "all_gather" or not _gathers_casts(sizes):
        return None
    name, precision = exchange.tensors[0], sizes.job.training.precision
    if exchange.pass_ == "forward" or exchange.regather:
        matmuls = [operator for operator in block.operators if name in operator.inputs]
        copies = 1.0
    else:
        matmuls = [operator for operator in block.operators if operator.output == name]
        copies = 2.0 if precision in BOTH_WAYS else 1.0
    if not matmuls or not all(multiplied_low(operator, sizes) for operator in matmuls):
        return None
    return copies * CAST_BYTES[precision]


def _gathers_casts(sizes: Sizes) -> bool:
    habit, recipe = sizes.job.framework.cast_gathers, sizes.job.training.fp8_recipe
    return habit == "all" or (habit == "tensorwise" and recipe == "tensorwise")
