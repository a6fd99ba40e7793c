"""Vision transformers for classification (ViT, arXiv 2010.11929)."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.encoder import encoder_layer
from planner.models.families.ends import TOKENS
from planner.models.families.layer import STREAM
from planner.models.families.norms import norm
from planner.models.graph import BATCH, SEQUENCE, Axis, Block
from planner.models.parts import Vision
from planner.models.spec import ModelSpec


def vit(spec: ModelSpec, part: Vision) -> tuple[dict[str, Block], tuple[str, ...]]:
    """Blocks of a vision transformer and their order. The sequence is the class token and the patches of one image."""
    blocks = {
        "embedding": _patch_embedding(spec, part),
        "encoder": encoder_layer(spec, "encoder"),
        "head": _classifier(spec),
    }
    return blocks, ("embedding", *("encoder",) * spec.layers, "head")


def _patch_embedding(spec: ModelSpec, part: Vision) -> Block:
    """Pixels of each patch to the hidden width, class token, learned positions."""
    axes = ModelAxes(spec)
    patch = Axis("patch", part.patch**2 * part.channels)
    block = BlockBuilder("embedding", "embedding", TOKENS, (BATCH, SEQUENCE, patch))
    patches = block.einsum("patch_embedding", TOKENS, (patch, axes.hidden), module="embedding", bias=True)
    tables = [block.parameter("class_token", (axes.hidden,))]
    if spec.positions == "learned":
        tables.append(block.parameter("position_table", (Axis("positions", spec.seq_len), axes.hidden)))
    positions = block.operator(
        "position_embedding", "embedding", (TOKENS,), axes.stream, module="embedding", parameters=tables
    )
    stream = block.pointwise("position_residual", "residual", patches, positions, module="embedding")
    return block.build(stream)


def _classifier(spec: ModelSpec) -> Block:
    """Final norm, the class token, projection to the classes, loss."""
    axes = ModelAxes(spec)
    block = BlockBuilder("head", "head", STREAM, axes.stream)
    stream = norm(block, spec, "final_norm", STREAM, (axes.hidden,)) if spec.final_norm else STREAM
    chosen = block.operator("class_token", "pool", (stream,), (BATCH, axes.hidden), module="head")
    logits = block.einsum(
        "head",
        chosen,
        (axes.hidden, Axis("classes", spec.padded_vocab)),
        module="head",
        bias=True,
        output="logits",
    )
    block.operator(
        "loss",
        "vocabulary_loss",
        (logits,),
        (BATCH,),
        module="loss",
        saves=(logits,),
        dtype="fp32",
        output="loss",
    )
    return block.build("loss")
