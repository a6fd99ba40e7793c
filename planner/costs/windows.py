"""Which computation a tensor-parallel transfer can hide behind: the products that it feeds, or that make it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.costs.operator_cost import OperatorCost
from planner.costs.sizes import FloatArray
from planner.layouts.sharding import Exchange
from planner.models.graph import Block

BULK_SHARE = 0.4
"""Hidden part of tp traffic that leaves the innermost domain. Kernels that interleave a matmul with its own gather or scatter
write to the memory of all peers, so they need NVLink between them (NVIDIA/TransformerEngine, issue 1071). Across nodes only
4 of a layer's 10 collectives overlap, beside a matmul that they do not feed: column-parallel inputs gathered again during the
input gradient, and its reduction during the weight gradient."""


def product_s(exchange: Exchange, block: Block, costs: Mapping[str, OperatorCost]) -> FloatArray | float:
    """Seconds of the products beside which a gather or scatter over tp runs, shape (rows,); without limit for others.

    In forward a gather goes with the products that read it and a scatter with the one that makes it; in backward the gather of
    a gradient goes with the input gradient that reads it, a gather again with the input gradient of its readers, the scatter of
    an input's gradient with their weight gradients (NVIDIA/TransformerEngine, ``ub_overlap_ag``, ``ub_bulk_dgrad`` and
    ``ub_bulk_wgrad`` of its linear layers).

    Args:
        costs: of the block's operators by name.
    """
    reduces = exchange.collective == "reduce_scatter"
    if exchange.axis != "tp" or not (reduces or exchange.collective == "all_gather"):
        return np.inf
    backward, name = exchange.pass_ == "backward", exchange.tensors[0]
    made = reduces != backward and not exchange.regather
    products = [
        operator.name
        for operator in block.operators
        if operator.kind == "einsum" and (operator.output == name if made else name in operator.inputs)
    ]
    part = ("weight_gradient_s" if reduces else "input_gradient_s") if backward else "forward_s"
    return sum(getattr(costs[one], part) for one in products) if products else np.inf
