"""Encoder-decoders with cross-attention (T5, arXiv 1910.10683)."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.attention import cross_attention, self_attention
from planner.models.families.axes import ModelAxes
from planner.models.families.encoder import encoder_layer
from planner.models.families.ends import embedding, head
from planner.models.families.layer import STREAM, mlp_part
from planner.models.families.norms import after_branch, before_branch, norm
from planner.models.graph import Block
from planner.models.parts import Encoder
from planner.models.spec import ModelSpec

ENCODER_OUTPUT = "encoder_output"


def encoder_decoder(spec: ModelSpec, part: Encoder) -> tuple[dict[str, Block], tuple[str, ...]]:
    """Blocks and order: embedding, encoder, bridge, the decoder's embedding (same table), decoder, head.

    With relative positions the first layer of each stack owns the table of biases, so it is a block of its own.
    """
    scale = (spec.decoder_seq_len or spec.seq_len) / spec.seq_len
    blocks = {"embedding": embedding(spec)}
    encoder_order = _stack("encoder", part.layers, spec)
    decoder_order = _stack("decoder", spec.layers, spec)
    for name in dict.fromkeys(encoder_order):
        blocks[name] = encoder_layer(spec, name, relative_table=name.endswith("_first"))
    blocks["bridge"] = _bridge(spec)
    blocks["decoder_embedding"] = embedding(spec, "decoder_embedding", tied=True, scale=scale)
    for name in dict.fromkeys(decoder_order):
        blocks[name] = _decoder_layer(spec, name, scale, relative_table=name.endswith("_first"))
    blocks["head"] = head(spec, scale=scale)
    return blocks, (
        "embedding",
        *encoder_order,
        "bridge",
        "decoder_embedding",
        *decoder_order,
        "head",
    )


def _stack(name: str, layers: int, spec: ModelSpec) -> tuple[str, ...]:
    if spec.positions == "relative":
        return (f"{name}_first", *(name for _ in range(layers - 1)))
    return (name,) * layers


def _bridge(spec: ModelSpec) -> Block:
    """The encoder's final norm; what every decoder layer reads."""
    axes = ModelAxes(spec)
    block = BlockBuilder("bridge", "bridge", STREAM, axes.stream)
    stream = norm(block, spec, "encoder_final_norm", STREAM, (axes.hidden,)) if spec.final_norm else STREAM
    block.pointwise("encoder_dropout", "dropout", stream, module="residual", output=ENCODER_OUTPUT)
    return block.build(ENCODER_OUTPUT)


def _decoder_layer(spec: ModelSpec, name: str, scale: float, *, relative_table: bool) -> Block:
    """Causal self-attention, attention to the encoder's output, MLP."""
    axes = ModelAxes(spec)
    block = BlockBuilder(name, "layer", STREAM, axes.stream)
    memory = block.side_input(ENCODER_OUTPUT, axes.kv_stream)
    source = before_branch(block, spec, "attention", STREAM)
    branch = self_attention(block, spec, source, window=None, causal=True, relative_table=relative_table)
    stream = after_branch(block, spec, "attention", STREAM, branch)
    source = before_branch(block, spec, "cross_attention", stream)
    branch = cross_attention(block, spec, source, memory)
    stream = after_branch(block, spec, "cross_attention", stream, branch)
    stream = mlp_part(block, spec, stream, routed=False)
    return block.build(stream, sequence_scale=scale, kv_sequence_scale=1.0)
