"""Decoder-only language models: GPT, Llama-style, mixtures of experts, alternating windows, state-space hybrids."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.ends import embedding, head
from planner.models.families.layer import STREAM, transformer_layer
from planner.models.families.mamba2 import mamba2_layer
from planner.models.families.mtp import mtp
from planner.models.graph import Block
from planner.models.spec import LayerKind, ModelSpec


def decoder(spec: ModelSpec) -> tuple[dict[str, Block], tuple[str, ...]]:
    """Blocks of a decoder-only model and the order in which they run."""
    blocks = {"embedding": embedding(spec)}
    order = ["embedding"]
    mixed = len(set(spec.layer_kinds())) > 1
    for kind, routed in zip(spec.layer_kinds(), spec.moe_layers(), strict=True):
        name = layer_name(kind, routed, mixed)
        if name not in blocks:
            blocks[name] = decoder_layer(spec, name, kind, routed)
        order.append(name)
    if spec.mtp_layers:
        blocks["mtp"] = mtp(spec)
        order += ["mtp"] * spec.mtp_layers
    blocks["head"] = head(spec)
    order.append("head")
    return blocks, tuple(order)


def layer_name(kind: LayerKind, routed: bool, mixed: bool) -> str:
    """``dense``, ``moe`` or ``mamba2``, led by the attention kind where the model mixes several."""
    if kind == "mamba2":
        return "mamba2_moe" if routed else "mamba2"
    name = "moe" if routed else "dense"
    return f"{kind}_{name}" if mixed else name


def decoder_layer(spec: ModelSpec, name: str, kind: LayerKind, routed: bool) -> Block:
    """One causal layer: a transformer's, or a state-space one."""
    if kind == "mamba2" and spec.mamba2 is not None:
        return mamba2_layer(spec, spec.mamba2, name, routed=routed)
    block = BlockBuilder(name, "layer", STREAM, ModelAxes(spec).stream)
    return block.build(transformer_layer(block, spec, STREAM, local=kind == "local", routed=routed))
