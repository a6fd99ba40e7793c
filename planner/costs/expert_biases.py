"""What biases and clamped activations of experts cost where no grouped kernel fuses them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from planner.costs.kernels import memory_bound_seconds
from planner.costs.operators import OperatorCost
from planner.costs.sizes import FloatArray, Sizes
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator

BIAS_BYTES = (28.0, 40.0)
"""HBM bytes per output element of a bias that each expert adds to its own rows, weighted by the router's probability: its
product with the probability, the sum, the concatenation of the experts and the cast back, in fp32 (4 + 10 + 8 + 6);
backward: the cast, the gradients of sum, bias and probability with their reductions (6 + 6 + 12 + 12), and the gradients of
the parts put together (4). TEGroupedMLP._apply_bias of NVIDIA/Megatron-LM, megatron/core/transformer/moe/experts.py."""

BIAS_LAUNCHES = (2.0, 6.0)
"""Kernels for each local expert that these are."""

LIMIT_BYTES = (8.0, 10.0)
"""HBM bytes per element of gate and value that are clamped and put together again before a fused activation; backward: the
gradient by the mask, and put together (weighted_bias_quick_geglu_impl, megatron/core/fusions/fused_bias_geglu.py)."""


def with_expert_biases(
    cost: OperatorCost, operator: Operator, block: Block, derivation: Derivation, sizes: Sizes
) -> OperatorCost:
    """The cost of an operator with what biases or limits of experts add; unchanged for all other operators.

    Kernels that fuse them with the grouped product also keep the counts of rows on the device, which graphs of the whole
    iteration need: there nothing is added (Transformer Engine's CuTe DSL kernels). The bias of the first product is added by
    the product itself.
    """
    if sizes.job.training.capture is True or "expert_bias" in sizes.job.framework.fusions:
        return cost
    if operator.kind == "activation" and operator.attributes.get("limit") is not None:
        name = operator.inputs[0]
        elements = sizes.elements(block.tensors[name], derivation.rules[operator.name].inputs[0])
        return _with(cost, elements, LIMIT_BYTES, np.array(1.0), sizes)
    if _biased(operator, block):
        elements = sizes.elements(block.tensors[operator.output], derivation.rules[operator.name].output)
        local = sizes.job.model.experts / sizes.degrees["ep"]
        return _with(cost, elements, BIAS_BYTES, local, sizes)
    return cost


def _biased(operator: Operator, block: Block) -> bool:
    """Whether this is the last product of experts, and has a bias."""
    if operator.kind != "einsum" or len(operator.parameters) < 2:
        return False
    weight = block.parameters[operator.parameters[0]]
    source = block.tensors[operator.inputs[0]]
    return "experts" in weight.axis_names and "expert_ffn" in source.axis_names


def _with(
    cost: OperatorCost, elements: FloatArray, nbytes: tuple[float, float], experts: FloatArray, sizes: Sizes
) -> OperatorCost:
    accelerator = sizes.job.cluster.accelerator
    forward, backward = (memory_bound_seconds(width * elements, accelerator) for width in nbytes)
    return replace(
        cost,
        forward_s=cost.forward_s + forward,
        input_gradient_s=cost.input_gradient_s + backward,
        launches_forward=cost.launches_forward + BIAS_LAUNCHES[0] * experts,
        launches_backward=cost.launches_backward + BIAS_LAUNCHES[1] * experts,
    )
