"""Bidirectional encoders with a masked language model head (BERT, arXiv 1810.04805)."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.ends import TOKEN_TABLE, embedding, logits_and_loss
from planner.models.families.layer import STREAM, transformer_layer
from planner.models.families.norms import norm
from planner.models.graph import Axis, Block
from planner.models.spec import ModelSpec


def encoder(spec: ModelSpec) -> tuple[dict[str, Block], tuple[str, ...]]:
    """Blocks of an encoder and their order. Pooler and next-sentence head are not part of it."""
    blocks = {"embedding": embedding(spec)}
    order = ["embedding"]
    mixed = len(set(spec.layer_kinds())) > 1
    for kind in spec.layer_kinds():
        name = f"{kind}_encoder" if mixed else "encoder"
        if name not in blocks:
            blocks[name] = encoder_layer(spec, name, local=kind == "local")
        order.append(name)
    blocks["head"] = masked_head(spec)
    return blocks, (*order, "head")


def encoder_layer(spec: ModelSpec, name: str, *, local: bool = False, relative_table: bool = False) -> Block:
    """One layer whose tokens see each other both ways."""
    block = BlockBuilder(name, "layer", STREAM, ModelAxes(spec).stream)
    stream = transformer_layer(block, spec, STREAM, local=local, causal=False, relative_table=relative_table)
    return block.build(stream)


def masked_head(spec: ModelSpec) -> Block:
    """BERT's head: dense transform, activation, norm, projection to the vocabulary, loss.

    The transform keeps the width; its output axis is called ``latent`` because a contraction needs two names.
    """
    axes = ModelAxes(spec)
    block = BlockBuilder("head", "head", STREAM, axes.stream)
    stream = STREAM
    if spec.final_norm:
        stream = norm(block, spec, "final_norm", stream, (axes.hidden,))
    latent = Axis("latent", spec.hidden)
    wide = block.einsum(
        "transform", stream, (axes.hidden, latent), module="head", bias=spec.biases in ("mlp", "all")
    )
    active = block.pointwise(
        "transform_activation",
        "activation",
        wide,
        module="head",
        saves=(wide,),
        attributes={"function": spec.activation, "gated": False},
    )
    active = norm(block, spec, "transform_norm", active, (latent,))
    tied_to = TOKEN_TABLE if spec.tied_embeddings else None
    return block.build(logits_and_loss(block, spec, active, tied_to=tied_to))
