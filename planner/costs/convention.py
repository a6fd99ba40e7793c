"""Model FLOPs and utilisation under a named convention."""

from __future__ import annotations

from typing import Literal

from planner.costs.attention_core import visible_keys
from planner.jobs.types import Job
from planner.models.graph import Block, ModelGraph

FlopsConvention = Literal["causal_half", "full_square", "none"]


def model_flops(job: Job, convention: FlopsConvention = "causal_half") -> float:
    """FLOPs of one optimizer step that the model needs, recompute excluded.

    6 x matmul parameters (head in, input embedding out; routed experts: top-k of all) x tokens, plus attention:
    12 layers heads head_dim seq per token for the full square, half of it when causal (Narayanan et al.,
    arXiv 2104.04473, appendix), less inside a sliding window.
    """
    total = 0.0
    for name in job.model.order:
        block = job.model.blocks[name]
        tokens = job.training.tokens_per_step * block.sequence_scale
        total += 6.0 * matmul_parameters(block, job.model) * tokens
        if convention != "none":
            total += 3.0 * attention_flops(block, job, convention)
    return total


def matmul_parameters(block: Block, model: ModelGraph) -> float:
    """Elements of the weights that one token is multiplied with in a block."""
    total = 0.0
    for operator in block.operators:
        if operator.kind != "einsum":
            continue
        weight = block.parameters[operator.parameters[0]]
        routed = "experts" in weight.axis_names
        total += weight.count * (model.top_k / model.experts if routed else 1.0)
    return total


def attention_flops(block: Block, job: Job, convention: FlopsConvention) -> float:
    """Forward FLOPs of the block's attention cores for one step: 2 x queries x visible keys x heads x (d_qk + d_v)."""
    total = 0.0
    queries = job.training.tokens_per_step * block.sequence_scale
    for operator in block.operators:
        if operator.kind != "attention":
            continue
        query, key, value = (block.tensors[name] for name in operator.inputs[:3])
        scale = block.kv_sequence_scale if "sequence_kv" in key.axis_names else block.sequence_scale
        keys = job.training.seq_len * scale
        if convention == "causal_half":
            window = operator.attributes.get("window")
            keys = visible_keys(
                keys, bool(operator.attributes.get("causal")), float(window) if window else None
            )
        heads = next(a.size or 1 for a in query.axes if a.name in ("heads", "kv_heads"))
        dims = (query.axes[-1].size or 0) + (value.axes[-1].size or 0)
        total += 2.0 * queries * keys * heads * dims
    return total
