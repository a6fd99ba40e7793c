"""What must hold between the fields of a model description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.models.spec import ModelSpec


_WITHOUT_EFFECT: Mapping[str, tuple[str, ...]] = {
    "encoder": ("moe",),
    "encoder_decoder": ("moe", "mla", "parallel_block", "sliding_window", "layer_pattern"),
    "vit": ("moe", "sliding_window", "layer_pattern", "tied_embeddings", "token_types", "embedding_norm"),
}
"""Fields that the blocks of a family do not have: given there, they are an error instead of being ignored."""


def check(spec: ModelSpec) -> None:
    """Raises ``ValueError`` with the first rule that the description breaks."""
    _check_effect(spec)
    _check_attention(spec)
    _check_mlp(spec)
    _check_moe(spec)
    _check_family(spec)


def _check_effect(spec: ModelSpec) -> None:
    for name in _WITHOUT_EFFECT.get(spec.family, ()):
        if getattr(spec, name) != type(spec).model_fields[name].default:
            raise ValueError(f"{name} is not part of family {spec.family}")


def _check_attention(spec: ModelSpec) -> None:
    if all(kind == "mamba2" for kind in spec.layer_kinds()):
        return
    if spec.heads is None:
        raise ValueError("heads is missing: layers with attention need it")
    if spec.head_dim is None and spec.mla is None and spec.hidden % spec.heads:
        raise ValueError(f"hidden {spec.hidden} is not a multiple of heads {spec.heads}: state head_dim")
    if spec.heads % spec.key_heads:
        raise ValueError(f"heads {spec.heads} is not a multiple of kv_heads {spec.key_heads}")
    if "local" in spec.layer_pattern and spec.sliding_window is None:
        raise ValueError("layer_pattern has 'local' layers: sliding_window is missing")


def _check_mlp(spec: ModelSpec) -> None:
    parts = zip(spec.moe_layers(), spec.mlp_layers(), strict=True)
    if spec.ffn_hidden is None and any(present and not routed for routed, present in parts):
        raise ValueError("ffn_hidden is missing: layers with a dense MLP need it")


def _check_moe(spec: ModelSpec) -> None:
    moe = spec.moe
    if moe is None:
        return
    if moe.topk > moe.experts:
        raise ValueError(f"moe.topk {moe.topk} exceeds moe.experts {moe.experts}")
    if moe.dense_layers > spec.layers:
        raise ValueError(f"moe.dense_layers {moe.dense_layers} exceeds layers {spec.layers}")
    if not any(spec.moe_layers()):
        raise ValueError("moe is given but no layer routes: see moe.dense_layers, moe.every and mamba2.mlp")
    if moe.shared_gate and not moe.shared_ffn:
        raise ValueError("moe.shared_gate needs shared_experts or shared_ffn_total")
    if spec.parallel_block:
        raise ValueError("parallel_block with moe is not a known architecture")


def _check_family(spec: ModelSpec) -> None:
    needs = {"encoder_decoder": "encoder", "vit": "vision", "mamba2": "mamba2", "hybrid": "mamba2"}
    part = needs.get(spec.family)
    if part is not None and getattr(spec, part) is None:
        raise ValueError(f"family {spec.family} needs the section '{part}'")
    for name in ("encoder", "vision", "mamba2"):
        if getattr(spec, name) is not None and needs.get(spec.family) != name:
            raise ValueError(f"section '{name}' does not belong to family {spec.family}")
    if "mamba2" in spec.layer_kinds() and spec.mamba2 is None:
        raise ValueError("layer_pattern has 'mamba2' layers: use family hybrid with the section 'mamba2'")
    if spec.mamba2 is not None and (spec.mamba2.expand * spec.hidden) % spec.mamba2.head_dim:
        raise ValueError(
            f"mamba2: inner width {spec.mamba2.expand * spec.hidden:g} is not a multiple of head_dim {spec.mamba2.head_dim}"
        )
    if spec.vision is not None and spec.seq_len != (spec.vision.image // spec.vision.patch) ** 2 + 1:
        raise ValueError(
            f"seq_len {spec.seq_len} is not the class token and the patches of one image: "
            f"{(spec.vision.image // spec.vision.patch) ** 2 + 1}"
        )
    if spec.mtp_layers and spec.family != "decoder":
        raise ValueError("mtp_layers needs family decoder")
    if spec.positions == "relative" and spec.family != "encoder_decoder":
        raise ValueError("positions 'relative' needs family encoder_decoder")
