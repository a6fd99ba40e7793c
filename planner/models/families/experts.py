"""Mixture of experts: router, dispatch, routed experts, combine, shared experts."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.mlp import feed_forward
from planner.models.graph import EXPERT_TOKENS, Axis
from planner.models.parts import Moe
from planner.models.spec import ModelSpec


def mixture(block: BlockBuilder, spec: ModelSpec, moe: Moe, source: str) -> str:
    """Routed experts on ``source``, plus the shared experts' output when there are any."""
    combined = _routed(block, spec, moe, source)
    if not moe.shared_ffn:
        return combined
    shared = feed_forward(
        block,
        spec,
        "shared_experts",
        source,
        Axis("shared_ffn", moe.shared_ffn),
        modules=("shared_experts", "shared_experts"),
        bias=False,
    )
    if moe.shared_gate:
        shared = _gated(block, source, shared)
    return block.pointwise("moe_add", "add", combined, shared, module="moe")


def _routing(block: BlockBuilder, moe: Moe, source: str) -> str:
    """Weights of the chosen experts of each token, in fp32; the logits are kept."""
    weight = (block.tensors[source].axes[-1], Axis("router_experts", moe.experts))
    logits = block.einsum(
        "router_logits", source, weight, module="router", bias=moe.router_bias, dtype="fp32"
    )
    return block.operator(
        "router",
        "router",
        (logits,),
        block.tensors[logits].axes,
        module="router",
        saves=(logits,),
        dtype="fp32",
        attributes={"top_k": moe.topk, "score": moe.score},
    )


def _routed(block: BlockBuilder, spec: ModelSpec, moe: Moe, source: str) -> str:
    axes = block.tensors[source].axes
    routing = _routing(block, moe, source)
    sent = block.operator(
        "dispatch",
        "dispatch",
        (source, routing),
        (EXPERT_TOKENS, axes[-1]),
        module="moe",
        attributes={"top_k": moe.topk},
    )
    answered = feed_forward(
        block,
        spec,
        "experts",
        sent,
        Axis("expert_ffn", moe.moe_ffn),
        modules=("moe", "moe_activation"),
        bias=moe.expert_bias,
        limit=moe.activation_limit,
        experts=(Axis("experts", moe.experts),),
    )
    return block.operator(
        "combine",
        "combine",
        (answered, routing),
        axes,
        module="moe_combine",
        saves=(answered,),
        attributes={"top_k": moe.topk},
    )


def _gated(block: BlockBuilder, source: str, shared: str) -> str:
    """Scales the shared experts' output by a sigmoid of one learned logit per token (Qwen2-MoE)."""
    weight = (block.tensors[source].axes[-1], Axis("router_experts", 1))
    gate = block.einsum("shared_gate", source, weight, module="shared_experts")
    return block.pointwise(
        "shared_gate_product",
        "multiply",
        shared,
        gate,
        module="shared_experts",
        saves=(shared, gate),
        attributes={"function": "sigmoid"},
    )
