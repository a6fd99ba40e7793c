"""A model narrow and shallow enough for a few processes that has the parts of the large one."""

from __future__ import annotations

from math import lcm
from typing import Any

from planner.errors import PlannerError
from planner.layouts.layout import Layout
from planner.models.parts import Mla, Moe
from planner.models.spec import ModelSpec

HEAD, WIDTH, VOCAB, EXPERT_WIDTH = 16, 64, 128, 32
LATENT = {"kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
LATENT_QUERY = 32
MOST_CHOSEN, MOST_LAYERS, WIDEST_MLP = 2, 4, 4
SEQUENCE = 32
"""Tokens of a sequence per part that an axis cuts it into."""

LEFT_OUT = (
    "layer_pattern",
    "sliding_window",
    "attention_soft_cap",
    "final_soft_cap",
    "attention_sinks",
    "mtp_layers",
    "embedding_norm",
    "token_types",
    "norm_placement",
    "parallel_block",
    "parallel_norms",
    "learned_positions",
    "pad_vocab_to",
    "source",
    "published_parameters",
    "published_active_parameters",
    "published_tolerance",
)
"""What takes its default in the copy: the reference trainer does not run it, or it belongs to the large widths."""


def scaled_sequence(layout: Layout) -> int:
    """Tokens of a sequence that every axis of the layout can cut."""
    return SEQUENCE * layout.tp * layout.cp


def scaled_model(spec: ModelSpec, large: Layout, small: Layout) -> ModelSpec:
    """The model of a scaled-down layout.

    Args:
        large, small: the layout before and after: ratios of heads to the degrees that cut them stay.

    Raises:
        PlannerError: another family than a decoder.
    """
    if spec.family != "decoder":
        raise PlannerError(f"found {spec.family}; only decoders are scaled down", field="model.family")
    fields = {name: value for name, value in spec.model_dump().items() if name not in LEFT_OUT}
    heads, kv_heads = _heads(spec, large, small)
    hidden = lcm(WIDTH, HEAD * heads)
    dense = min(spec.moe.dense_layers, 1) if spec.moe else 0
    least = dense + (spec.moe.every if spec.moe else 1)
    stages = small.pp * small.vpp
    layers = stages * max(1, min(spec.layers, MOST_LAYERS) // stages)
    fields |= {
        "layers": -(-max(layers, least) // stages) * stages,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": HEAD,
        "ffn_hidden": hidden * _ratio(spec) if spec.ffn_hidden else None,
        "vocab": VOCAB * small.tp,
        "seq_len": scaled_sequence(small),
        "positions": spec.positions if spec.positions in ("learned", "rope", "none") else "rope",
        "qk_norm": "none" if spec.qk_norm == "none" else "head_dim",
        "mla": None if spec.mla is None else _latent(spec.mla),
        "moe": None if spec.moe is None else _experts(spec.moe, small) | {"dense_layers": dense},
    }
    if spec.mla is not None:
        fields |= {"kv_heads": None, "head_dim": None}
    return ModelSpec.model_validate(fields)


def _heads(spec: ModelSpec, large: Layout, small: Layout) -> tuple[int, int]:
    """Query and KV heads: as few KV heads per rank that cuts them as the large model has, and queries grouped if they are."""
    before, now = large.tp * large.ulysses, small.tp * small.ulysses
    kv_heads = max(1, now * min(spec.key_heads, before) // before)
    grouped = min(spec.query_heads // spec.key_heads, 2)
    return lcm(kv_heads, now) * grouped, kv_heads


def _ratio(spec: ModelSpec) -> int:
    return min(max(round((spec.ffn_hidden or 0) / spec.hidden), 1), WIDEST_MLP)


def _latent(mla: Mla) -> dict[str, Any]:
    return {**LATENT, "q_lora_rank": None if mla.q_lora_rank is None else LATENT_QUERY}


def _experts(moe: Moe, layout: Layout) -> dict[str, Any]:
    """At least two on a rank where there were several; without biases and clamps, which the trainer does not run."""
    chosen = min(moe.topk, MOST_CHOSEN)
    width = EXPERT_WIDTH * layout.etp
    experts = layout.ep * (2 if moe.experts > layout.ep or layout.ep < chosen else 1)
    return {
        "experts": experts,
        "topk": chosen,
        "moe_ffn": width,
        "shared_experts": min(moe.shared_experts, 1),
        "shared_ffn_total": width if moe.shared_ffn_total else None,
        "every": moe.every,
        "shared_gate": moe.shared_gate,
        "score": moe.score,
    }
