"""The attention core of one layer on one rank: at once, or block by block around a ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.kernels import (
    EAGER_SOFTMAX_LAUNCHES,
    attention_seconds,
    backward_widths,
    memory_bound_seconds,
)
from planner.costs.operator_cost import OperatorCost, fused, one_softmax, operator_result
from planner.costs.sizes import BoolArray, FloatArray, Sizes
from planner.layouts.sharding import Derivation
from planner.models.graph import Block, Operator

MERGE_BYTES = {True: 10.0, False: 34.0}
"""HBM bytes per output element and ring step, by whether one kernel merges partial results: the 16-bit result read, the fp32
accumulator read and written; otherwise a conversion (6), two products with weights (8 each) and their sum (12), as in
``update_out_and_lse`` of zhuzilin/ring-flash-attention and ``_SDPAMerger`` of PyTorch's context parallelism."""

GRADIENT_MERGE_BYTES = 10.0
"""The same of backward, per element of queries, keys and values: 16-bit gradients are added to the fp32 ones."""

ENDS_BYTES = 12.0
"""Of both, once: the first result is converted to fp32, the sum back to 16 bits."""

SHORT_SIDES = 1.5
"""Of paired chunks of T tokens, blocks off the diagonal are T x T/2 and T/2 x T: the mean of 2 / T and 1 / T."""

UNFUSED_CALLS = (5.0, 8.0)
"""Launches of unfused attention with a fused softmax, forward and backward."""


@dataclass(frozen=True)
class _Calls:
    """Calls of one kind: executed forward FLOPs, elements of the scores, tokens of a call, whether they are masked, all
    scores over those that the mask leaves, whether positions add a bias to them, and whether the mask leaves a triangle."""

    flops: FloatArray
    scores: FloatArray
    tokens: FloatArray
    causal: bool
    square: float = 2.0
    biased: bool = False
    triangle: bool = False


def attention_kernel(sizes: Sizes) -> str:
    """Generation of the attention kernel that the job runs."""
    job = sizes.job
    return job.framework.attention_generation(job.training.attention, job.cluster.accelerator.architecture)


def attention_cost(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> OperatorCost:
    """Cost of an attention operator; its FLOPs count the full square."""
    query, key, value = (block.tensors[name] for name in operator.inputs[:3])
    places = derivation.rules[operator.name].inputs
    tokens = sizes.local([a for a in query.axes if a.name in ("batch", "sequence")], places[0]) / sizes.batch
    heads = sizes.local([a for a in query.axes if a.name in ("heads", "kv_heads")], places[0])
    keys = float(np.max([sizes.axis(a) for a in key.axes if a.name in ("sequence", "sequence_kv")]))
    width, width_v = ((t.axes[-1].size or 0) for t in (query, value))
    head_dims = float(width + (max(width, width_v) if sizes.job.framework.pads_values else width_v))
    kernel, scores, steps = attention_kernel(sizes), sizes.batch * tokens * keys * heads, _ring_steps(sizes)
    square = 2.0 * scores * head_dims
    calls = _calls(operator, sizes, kernel, square, scores, keys)
    whole_softmax = one_softmax(sizes, sizes.batch * heads)
    forward, backward = (
        _seconds(calls, sizes, kernel, head_dims / 2.0, whole_softmax, backward=b) for b in (False, True)
    )
    results = sizes.batch * tokens * heads * float(width_v)
    taken = zip((query, key, value), places[:3], strict=True)
    gradients = np.sum([sizes.elements(*part) for part in taken], axis=0)
    merge = MERGE_BYTES[fused(sizes, "ring_merge")]
    eager = np.where(whole_softmax, 0.0, EAGER_SOFTMAX_LAUNCHES)
    launches = tuple(calls + eager if kernel == "unfused" else 1.0 for calls in UNFUSED_CALLS)
    blocks = 1.0 + 2.0 * steps
    return operator_result(
        sizes,
        forward + _merge_seconds(results, merge, steps, sizes),
        backward + _merge_seconds(gradients, GRADIENT_MERGE_BYTES, steps, sizes),
        0.0,
        (square, 2.0 * scores * backward_widths(kernel, float(width), head_dims - width)),
        (launches[0] * blocks, launches[1] * blocks),
    )


def _ring_steps(sizes: Sizes) -> FloatArray:
    """Blocks after the first whose results are merged; none where keys and values are gathered."""
    return np.where(sizes.layouts.columns["cp_gather"] > 0, 0.0, sizes.degrees["ring"] - 1.0)


def _merge_seconds(
    elements: FloatArray, bytes_per_step: float, steps: FloatArray, sizes: Sizes
) -> FloatArray:
    """Seconds in which the partial results of a ring's blocks are added up."""
    nbytes = elements * (steps * bytes_per_step + ENDS_BYTES)
    return np.where(steps > 0, memory_bound_seconds(nbytes, sizes.job.cluster.accelerator), 0.0)


def _calls(
    operator: Operator, sizes: Sizes, kernel: str, square: FloatArray, scores: FloatArray, keys: float
) -> tuple[_Calls, ...]:
    """What one rank computes: all at once, or its own block, masked, and those of the others.

    Of the c blocks of a causal ring one is on the diagonal. The others hold nothing masked: whole squares in contiguous order,
    of which the last rank computes c - 1, half squares where chunks are paired.
    """
    causal, window = bool(operator.attributes.get("causal", False)), operator.attributes.get("window")
    ring, flash = sizes.degrees["ring"], kernel != "unfused"
    seen = visible_keys(keys, causal, float(window) if window else None)
    executed = square * (seen / keys) if flash else square
    tokens = (min(keys, float(window)) if window and flash else keys) / ring
    contiguous = sizes.job.training.cp_balance == "contiguous"
    if not flash or not causal or window is not None or not np.any(ring > 1.0):
        biased = bool(operator.attributes.get("biased"))
        return (_Calls(executed, scores, tokens, causal, keys / seen, biased, causal and window is None),)
    others = executed * (_ring_steps(sizes) / ring)
    own = executed - others
    if contiguous:
        own = own * np.where(
            others > 0, 1.0, contiguous_excess(ring)
        )  # gathered keys: the last rank sees them all
        return _Calls(own, scores, tokens, True), _Calls(2.0 * others, scores, tokens, False)
    return _Calls(own, scores, tokens, True), _Calls(others, scores, tokens / SHORT_SIDES, False)


def _seconds(
    calls: Sequence[_Calls],
    sizes: Sizes,
    kernel: str,
    head_dim: float,
    whole_softmax: BoolArray,
    *,
    backward: bool,
) -> FloatArray:
    job = sizes.job
    seconds: list[FloatArray] = [
        attention_seconds(
            part.flops,
            part.scores,
            job.cluster.accelerator,
            job.training.precision,
            kernel,
            backward=backward,
            tokens=part.tokens,
            causal=part.causal,
            square=part.square,
            head_dim=head_dim,
            dropout=job.training.dropout > 0,
            fused_softmax=whole_softmax,
            biased=part.biased,
            triangle=part.triangle and "causal_softmax" in job.framework.fusions,
        )
        for part in calls
    ]
    return sum(seconds[1:], start=seconds[0])


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
