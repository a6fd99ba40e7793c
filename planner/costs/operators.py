"""Seconds, FLOPs and kernel launches of one operator on one rank, for one micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from planner.costs.attention_core import attention_cost
from planner.costs.kernels import (
    CAST_BYTES,
    LOW_PRECISIONS,
    RECIPE_SLOWDOWN,
    attention_seconds,
    backward_ratio,
    cast_seconds,
    matmul_seconds,
    memory_bound_seconds,
)
from planner.costs.operator_cost import OperatorCost, fused, operator_result
from planner.costs.pointwise import pointwise
from planner.costs.sizes import FloatArray, Sizes, activation_bytes
from planner.costs.states import gradient_bytes
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator, Parameter

__all__ = ["OperatorCost", "matmul_precision", "operator_cost"]

SSD_CHUNK = 256
"""Tokens per chunk of the state-space dual form (Mamba-2, arXiv 2405.21060)."""

SCAN_KERNEL = "triton"
"""Generation of attention kernels whose rate the chunks of a scan reach: Mamba-2's kernels are written in Triton."""

UNFUSED_LOSS_BYTES = {"pytorch": (14.0, 22.0), "megatron": (38.0, 14.0)}
"""HBM bytes per 16-bit logit of a softmax cross entropy in fp32, forward and backward.

PyTorch's: the fp32 copy (6), log-softmax in one kernel (8); backward the gradients of the likelihood (4), of log-softmax (12)
and of the copy (6). Megatron-LM's ``vocab_parallel_cross_entropy`` runs a kernel per step: copy (6), maximum (4), subtraction
(8), exponential (8), sum (4), division (8); backward a product (8) and the gradient of the copy (6)."""

PERMUTE_PASSES = {"dispatch": (4.0, 4.0), "combine": (3.0, 3.0)}
"""Reads and writes of the routed tokens, forward and backward, on both sides of the all-to-all."""

GATHERED_PASSES = {"dispatch": ((4.0, 0.0), (7.0, 1.0)), "combine": ((14.0, 5.0), (16.0, 0.0))}
"""The same where the tokens of all ranks are gathered: (of the routed rows, of the gathered tokens), forward and backward.

The rank's own rows are picked and then sorted by expert (4), answers put back in order (3), weighted (2), cast (3), added in
fp32 to zeros of all tokens (6 + 2) and cast back (3). Backward: rows are picked (2 + 2), weighted with the gradient of the
weights (6), two slices and two picks put into zeros (6 + 7 + 1) (allgather_token_permutation and allgather_token_unpermutation
of Ascend/MindSpeed, September 2024, mindspeed/core/transformer/moe/token_dispatcher.py)."""

ROUTING_LAUNCHES = {"dispatch": (4.0, 4.0), "combine": (4.0, 4.0)}
"""Kernels of these, forward and backward; those that find out the sizes come on top (``planner.costs.host``)."""

GATHERED_LAUNCHES = {"dispatch": (4.0, 5.0), "combine": (8.0, 9.0)}
"""The same where the tokens of all ranks are gathered."""


def operator_cost(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """Cost of one operator; members of a fused group other than its first cost nothing (the first carries the sum)."""
    return _COSTS.get(operator.kind, pointwise)(operator, block, derivation, sizes)


def matmul_precision(operator: Operator, sizes: Sizes) -> str:
    """Precision of a matmul: routers run in fp32, the head stays in 16 bits under low-precision recipes."""
    precision = sizes.job.training.precision
    if operator.module == "router" and "fp32" in sizes.job.cluster.accelerator.peak_flops:
        return "fp32"
    if operator.module in ("head", "embedding") and precision in LOW_PRECISIONS:
        return "bf16"
    return precision


def _group(operator: Operator, block: Block, sizes: Sizes) -> tuple[Operator, ...]:
    """Operators that run in the same kernel launch as this one; empty when another one carries them."""
    if operator.fused_group is None or not fused(sizes, "qkv"):
        return (operator,)
    members = tuple(
        o
        for o in block.operators
        if o.fused_group == operator.fused_group and o.inputs[:1] == operator.inputs[:1]
    )
    return members if members[0].name == operator.name else ()


def gradient_traffic(sizes: Sizes) -> float | None:
    """HBM bytes per element of a weight's gradient, None for those of a 16-bit result.

    Where a profile's fp32 gradients live beside the weights and travel in fp32 the product adds to them, in the type that the
    job stores them in: read and written (Megatron's gradient_accumulation_fusion).
    """
    law = sizes.job.framework.state_law(sizes.job.training.precision)
    kept = min(law.gradients, law.reduced) >= 4.0 and law.master > 0.0
    return 2.0 * gradient_bytes(sizes.job)[0] if kept and not law.accumulation else None


def _adding_apart(elements: FloatArray, sizes: Sizes) -> FloatArray | float:
    """Seconds in which kernels of their own add a weight's gradient to the one that is kept."""
    law = sizes.job.framework.state_law(sizes.job.training.precision)
    # what travels in 16 bits is summed in them: both are read and the sum is written
    narrow = gradient_bytes(sizes.job)[1] < law.reduced
    moved = min(law.accumulation, 6.0) if narrow else law.accumulation
    return memory_bound_seconds(moved * elements, sizes.job.cluster.accelerator)


def _ragged(rows: FloatArray, experts: FloatArray, sizes: Sizes) -> FloatArray:
    """Slow-down of grouped matmuls whose groups share tiles (``kernels.matmul_group_rows``); a fixed capacity aligns them."""
    accelerator, fixed = sizes.job.cluster.accelerator, sizes.job.training.moe.capacity_factor is not None
    if accelerator.compute_units is not None or fixed:
        return np.ones_like(rows)
    lost = accelerator.kernels.matmul_group_rows / np.maximum(rows, 1.0)
    return np.where(experts > 1.0, 1.0 + lost, 1.0)


_Sizes = tuple[FloatArray, FloatArray, FloatArray]


def _products(m: FloatArray, n: FloatArray, k: FloatArray) -> tuple[_Sizes, _Sizes]:
    """(m, n, k) of a matmul, then of its input gradient, then of its weight gradient, with the strides of A, B and C: the rows
    of all tensors are features, n or k wide; shape (3 rows,)."""
    sizes = ((m, m, k), (n, k, n), (k, n, m))
    strides = ((k, n, k), (k, k, n), (n, k, n))
    return (
        (np.concatenate(sizes[0]), np.concatenate(sizes[1]), np.concatenate(sizes[2])),
        (np.concatenate(strides[0]), np.concatenate(strides[1]), np.concatenate(strides[2])),
    )


def _columns(n: FloatArray, weight: Parameter, sizes: Sizes) -> FloatArray:
    """Columns of a product, with those that pad a vocabulary, or without those that its ranks cannot share."""
    whole = next((float(axis.size or 1) for axis in weight.axes if axis.name == "vocab"), None)
    if whole is None:
        return n
    pad = sizes.job.framework.pads_vocabulary
    if pad == 0:
        return np.where(n < whole, np.floor(whole / sizes.degrees["tp"]), n)
    return np.ceil(n / pad) * pad


def _einsum(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    members = _group(operator, block, sizes)
    if not members:
        return operator_result(sizes, 0.0, 0.0, launches=(0.0, 0.0))
    source = block.tensors[operator.inputs[0]]
    placement = derivation.rules[operator.name].inputs[0]
    outputs = [(block.tensors[o.output], derivation.rules[o.name].output) for o in members]
    kept = outputs[0][0].axis_names
    m = sizes.local([a for a in source.axes if a.name in kept], placement)
    k = sizes.local([a for a in source.axes if a.name not in kept], placement)
    width = [sizes.local([a for a in t.axes if a.name not in source.axis_names], p) for t, p in outputs]
    n = np.sum(width, axis=0)
    experts = np.ones(len(sizes.layouts))
    weight = block.parameters[operator.parameters[0]]
    for axis in weight.axes:
        if axis.name == "experts":
            experts = np.maximum(1.0, float(axis.size or 1) / sizes.degrees["ep"])
    accelerator = sizes.job.cluster.accelerator
    precision = matmul_precision(operator, sizes)
    whole = activation_bytes(precision)
    element = CAST_BYTES.get(precision, whole)
    rows = m / experts
    recipe = sizes.job.training.fp8_recipe
    scaled = RECIPE_SLOWDOWN.get(recipe or "", 1.0) if precision in LOW_PRECISIONS else 1.0
    slowdown = scaled * _ragged(rows, experts, sizes)
    shapes, strides = _products(rows, _columns(n, weight, sizes), k)
    seconds = matmul_seconds(
        *shapes,
        accelerator,
        precision,
        element,
        result_bytes=np.repeat([whole, whole, gradient_traffic(sizes) or whole], len(rows)),
        groups=np.tile(experts, 3),
        strides=strides,
    )
    forward, data, weights = (slowdown * product for product in np.split(seconds, 3))
    flops = 2.0 * m * n * k
    forward = forward + cast_seconds(m * k, accelerator, precision, recipe)
    data = data + cast_seconds(m * n, accelerator, precision, recipe)
    weights = weights + _adding_apart(experts * n * k, sizes)
    launches = 1.0 if sizes.job.framework.host.expert_s == 0.0 else experts
    return operator_result(
        sizes, forward, data, weights, (flops, 2.0 * flops), (np.minimum(launches, 1.0), 2.0)
    )


def _scan(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """State-space dual form: inside chunks as attention, between chunks through the state (arXiv 2405.21060, section 6)."""
    output = block.tensors[operator.output]
    elements = sizes.elements(output, derivation.rules[operator.name].output)
    state = max(
        (float(a.size or 1) for t in block.tensors.values() for a in t.axes if a.name == "state"),
        default=128.0,
    )
    flops = elements * (2.0 * SSD_CHUNK / 2 + 4.0 * state)
    accelerator, precision = sizes.job.cluster.accelerator, sizes.job.training.precision
    forward, backward = (
        attention_seconds(flops, elements, accelerator, precision, SCAN_KERNEL, backward=b)
        for b in (False, True)
    )
    return operator_result(
        sizes, forward, backward, 0.0, (flops, backward_ratio(SCAN_KERNEL) * flops), (4.0, 6.0)
    )


def _routing(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    sends, rule = operator.kind == "dispatch", derivation.rules[operator.name]
    name = operator.output if sends else operator.inputs[0]
    rows = sizes.bytes(block.tensors[name], derivation.outputs[name])
    accelerator, factor = sizes.job.cluster.accelerator, sizes.job.framework.elementwise_factor
    gathered = sizes.job.training.moe.dispatcher == "allgather"
    if gathered:
        stream, placement = (operator.inputs[0], rule.inputs[0]) if sends else (operator.output, rule.output)
        tokens = sizes.bytes(block.tensors[stream], placement) * sizes.degrees["ep"]
        moved = [of_rows * rows + of_tokens * tokens for of_rows, of_tokens in GATHERED_PASSES[operator.kind]]
    else:
        moved = [passes * rows for passes in PERMUTE_PASSES[operator.kind]]
    forward, backward = (memory_bound_seconds(factor * nbytes, accelerator) for nbytes in moved)
    launches = (GATHERED_LAUNCHES if gathered else ROUTING_LAUNCHES)[operator.kind]
    return operator_result(sizes, forward, backward, 0.0, launches=launches)


def _loss(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    logits = block.tensors[operator.inputs[0]]
    nbytes = sizes.elements(logits, derivation.rules[operator.name].inputs[0])
    quick = sizes.job.training.loss.fused and (fused(sizes, "cross_entropy") or sizes.job.training.compile)
    forward, backward = (4.0, 4.0) if quick else UNFUSED_LOSS_BYTES[sizes.job.framework.loss_kernels]
    accelerator = sizes.job.cluster.accelerator
    return operator_result(
        sizes,
        memory_bound_seconds(forward * nbytes, accelerator),
        memory_bound_seconds(backward * nbytes, accelerator),
        launches=(2.0, 1.0) if quick else (8.0, 4.0),
    )


_CostFunction = Callable[[Operator, Block, Derivation, Sizes], OperatorCost]

_COSTS: Mapping[str, _CostFunction] = {
    "einsum": _einsum,
    "attention": attention_cost,
    "scan": _scan,
    "dispatch": _routing,
    "combine": _routing,
    "vocabulary_loss": _loss,
}
