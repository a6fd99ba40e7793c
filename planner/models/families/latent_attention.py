"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values rebuilt from a latent.

The latent and the rotary part of the key have no head axis; only the up projections do.
"""

from __future__ import annotations

from planner.models.builder import Attribute, BlockBuilder
from planner.models.families.attention import core, output_projection
from planner.models.families.axes import ModelAxes
from planner.models.families.norms import norm
from planner.models.graph import Axis, AxisName
from planner.models.parts import Mla
from planner.models.spec import ModelSpec


def latent_attention(
    block: BlockBuilder, spec: ModelSpec, mla: Mla, source: str, *, window: int | None, causal: bool
) -> str:
    """Attention with compressed keys and values (and queries, when they have a rank); the output of its projection."""
    query = block.pointwise("q_rope", "rope", _query(block, spec, mla, source), module="attention")
    key, value = _key_value(block, spec, mla, source)
    attributes: dict[str, Attribute] = {
        "causal": causal,
        "window": window,
        "soft_cap": spec.attention_soft_cap,
    }
    context = core(block, "attention", query, key, value, attributes)
    return output_projection(block, spec, "attention_output", context)


def _query(block: BlockBuilder, spec: ModelSpec, mla: Mla, source: str) -> str:
    axes = ModelAxes(spec)
    bias = spec.biases in ("qkv", "attention", "all")
    if mla.q_lora_rank is None:
        return block.einsum("q", source, (axes.hidden, axes.heads, axes.head_dim), module="attention")
    latent = Axis("latent", mla.q_lora_rank)
    compressed = block.einsum("q_down", source, (axes.hidden, latent), module="attention", bias=bias)
    compressed = norm(block, spec, "q_latent_norm", compressed, (latent,))
    return block.einsum("q_up", compressed, (latent, axes.heads, axes.head_dim), module="mla_up_proj")


def _key_value(block: BlockBuilder, spec: ModelSpec, mla: Mla, source: str) -> tuple[str, str]:
    axes = ModelAxes(spec)
    bias = spec.biases in ("qkv", "attention", "all")
    latent, rotary = Axis("latent", mla.kv_lora_rank), Axis("rope_dim", mla.qk_rope_head_dim)
    width_name: AxisName = "head_dim" if mla.v_head_dim == spec.head_width else "value_dim"
    compressed, shared_key = (
        block.einsum(name, source, (axes.hidden, width), module="attention", bias=bias, fused_group="kv_down")
        for name, width in (("kv_down", latent), ("k_rope_down", rotary))
    )
    compressed = norm(block, spec, "kv_latent_norm", compressed, (latent,))
    widths = (("k_up", Axis("head_dim", mla.qk_nope_head_dim)), ("v_up", Axis(width_name, mla.v_head_dim)))
    key, value = (
        block.einsum(
            name, compressed, (latent, axes.kv_heads, width), module="mla_up_proj", fused_group="kv_up"
        )
        for name, width in widths
    )
    whole = (*block.tensors[key].axes[:-1], axes.head_dim)
    return block.operator("k_rope", "rope", (key, shared_key), whole, module="attention"), value
