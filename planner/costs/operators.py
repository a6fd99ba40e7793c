"""Seconds, FLOPs and kernel launches of one operator on one rank, for one micro-batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from planner.costs.kernels import (
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
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator

__all__ = ["OperatorCost", "fused", "matmul_precision", "operator_cost", "visible_keys"]

SSD_CHUNK = 256
"""Tokens per chunk of the state-space dual form (Mamba-2, arXiv 2405.21060)."""

SCAN_KERNEL = "triton"
"""Generation of attention kernels whose rate the chunks of a scan reach: Mamba-2's kernels are written in Triton."""

RING_MERGE_BYTES = 10.0
"""HBM bytes per output element and ring step: a 16-bit partial result read, the fp32 accumulator read and written."""

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

    Where fp32 gradients live beside the weights and travel in fp32 the product adds to them: read and written (Megatron's
    gradient_accumulation_fusion).
    """
    law = sizes.job.framework.state_law(sizes.job.training.precision)
    kept = min(law.gradients, law.reduced) >= 4.0 and law.master > 0.0
    return 2.0 * law.gradients if kept and not law.accumulation else None


def _adding_apart(elements: FloatArray, sizes: Sizes) -> FloatArray | float:
    """Seconds in which kernels of their own add a weight's gradient to the one that is kept."""
    law = sizes.job.framework.state_law(sizes.job.training.precision)
    return memory_bound_seconds(law.accumulation * elements, sizes.job.cluster.accelerator)


_Sizes = tuple[FloatArray, FloatArray, FloatArray]


def _products(m: FloatArray, n: FloatArray, k: FloatArray) -> tuple[tuple[_Sizes, _Sizes], ...]:
    """(m, n, k) of a matmul, of its input gradient and of its weight gradient, each with the strides of A, B and C: the
    rows of all tensors are features, n or k wide."""
    return ((m, n, k), (k, k, n)), ((m, k, n), (n, k, k)), ((k, n, m), (k, n, n))


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
    element = 4.0 if precision == "fp32" else activation_bytes(precision)
    rows = m / experts
    recipe = sizes.job.training.fp8_recipe
    slowdown = RECIPE_SLOWDOWN.get(recipe or "", 1.0) if precision in LOW_PRECISIONS else 1.0
    results = (None, None, gradient_traffic(sizes))
    forward, data, weights = (
        slowdown
        * matmul_seconds(
            *shape, accelerator, precision, element, result_bytes=result, groups=experts, strides=strides
        )
        for (shape, strides), result in zip(_products(rows, n, k), results, strict=True)
    )
    flops = 2.0 * m * n * k
    forward = forward + cast_seconds(m * k, accelerator, precision, recipe)
    data = data + cast_seconds(m * n, accelerator, precision, recipe)
    weights = weights + _adding_apart(experts * n * k, sizes)
    launches = 1.0 if sizes.job.framework.host.expert_s == 0.0 else experts
    return operator_result(
        sizes, forward, data, weights, (flops, 2.0 * flops), (np.minimum(launches, 1.0), 2.0)
    )


def attention_kernel(sizes: Sizes) -> str:
    """Generation of the attention kernel that the job runs."""
    job = sizes.job
    return job.framework.attention_generation(job.training.attention, job.cluster.accelerator.architecture)


def _attention(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    query, key, value = (block.tensors[name] for name in operator.inputs[:3])
    placements = derivation.rules[operator.name].inputs
    tokens = (
        sizes.local([a for a in query.axes if a.name in ("batch", "sequence")], placements[0]) / sizes.batch
    )
    heads = sizes.local([a for a in query.axes if a.name in ("heads", "kv_heads")], placements[0])
    keys = float(np.max([sizes.axis(a) for a in key.axes if a.name in ("sequence", "sequence_kv")]))
    width, width_v = ((t.axes[-1].size or 0) for t in (query, value))
    head_dims = float(width + (max(width, width_v) if sizes.job.framework.pads_values else width_v))
    causal, window = bool(operator.attributes.get("causal", False)), operator.attributes.get("window")
    seen = visible_keys(keys, causal, float(window) if window else None)
    square = 2.0 * sizes.batch * tokens * keys * heads * head_dims
    accelerator, precision = sizes.job.cluster.accelerator, sizes.job.training.precision
    kernel = attention_kernel(sizes)
    executed = square if kernel == "unfused" else square * (seen / keys)
    if causal and window is None and kernel != "unfused" and sizes.job.training.cp_balance == "contiguous":
        executed = executed * contiguous_excess(sizes.degrees["ring"])
    scores = sizes.batch * tokens * keys * heads
    # a ring computes block by block: shorter kernels, and one fp32 merge of partial results for each block after the first
    at_once = float(window) if window and kernel != "unfused" else keys
    block_tokens = min(keys, at_once) / sizes.degrees["ring"]
    forward, backward = (
        attention_seconds(
            executed,
            scores,
            accelerator,
            precision,
            kernel,
            backward=b,
            tokens=block_tokens,
            causal=causal,
            head_dim=head_dims / 2.0,
            dropout=sizes.job.training.dropout > 0,
            fused_softmax=fused(sizes, "softmax"),
        )
        for b in (False, True)
    )
    steps = np.where(sizes.layouts.columns["cp_gather"] > 0, 0.0, sizes.degrees["ring"] - 1.0)
    merged = steps * sizes.batch * tokens * heads * float(value.axes[-1].size or 0) * RING_MERGE_BYTES
    merge = np.where(steps > 0, memory_bound_seconds(merged, accelerator), 0.0)
    launches = (1.0, 1.0) if kernel != "unfused" else (5.0, 8.0)
    blocks = 1.0 + 2.0 * steps
    return operator_result(
        sizes,
        forward + merge,
        backward + 2.0 * merge,
        0.0,
        (square, backward_ratio(kernel) * square),
        (launches[0] * blocks, launches[1] * blocks),
    )


def contiguous_excess(ring: FloatArray) -> FloatArray:
    """Work of the busiest rank over the mean when a causal ring of c ranks holds the sequence in order: (2c - 1) / c.

    The last rank sees c - 1 whole blocks and half of its own, the mean is c / 2 (Striped Attention, arXiv 2311.09431).
    """
    return (2.0 * ring - 1.0) / ring


def visible_keys(keys: float, causal: bool, window: float | None) -> float:
    """Mean number of keys that a query sees: half when causal, less inside a window.

    A causal window of w over s keys has s w - w^2 / 2 pairs, one to both sides twice as many.
    """
    if window is not None and window < keys:
        behind = keys * window - window * window / 2
        return (behind if causal else 2.0 * behind) / keys
    return keys / 2 if causal else keys


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
    if sizes.job.training.moe.dispatcher == "allgather":
        stream, placement = (operator.inputs[0], rule.inputs[0]) if sends else (operator.output, rule.output)
        tokens = sizes.bytes(block.tensors[stream], placement) * sizes.degrees["ep"]
        moved = [of_rows * rows + of_tokens * tokens for of_rows, of_tokens in GATHERED_PASSES[operator.kind]]
    else:
        moved = [passes * rows for passes in PERMUTE_PASSES[operator.kind]]
    forward, backward = (memory_bound_seconds(factor * nbytes, accelerator) for nbytes in moved)
    return operator_result(sizes, forward, backward, 0.0, launches=(4.0, 4.0))


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
    "attention": _attention,
    "scan": _scan,
    "dispatch": _routing,
    "combine": _routing,
    "vocabulary_loss": _loss,
}
