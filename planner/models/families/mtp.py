"""Multi-token prediction (DeepSeek-V3, arXiv 2412.19437, section 2.2): one more layer that predicts a token further."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.ends import HEAD_WEIGHT, TOKEN_TABLE, TOKENS, logits_and_loss, lookup
from planner.models.families.layer import STREAM, transformer_layer
from planner.models.families.norms import norm
from planner.models.graph import BATCH, SEQUENCE, Axis, Block
from planner.models.spec import ModelSpec


def mtp(spec: ModelSpec) -> Block:
    """Norms of the stream and of the next token's embedding, projection of both, one layer, the shared head and its loss.

    Embedding and head are the main model's, so only norms, projection and layer hold parameters. The main stream
    leaves untouched: the block's own loss is a side product.
    """
    axes = ModelAxes(spec)
    block = BlockBuilder("mtp", "layer", STREAM, axes.stream)
    block.side_input(TOKENS, (BATCH, SEQUENCE))
    embedded = lookup(block, spec, "token_embedding", TOKEN_TABLE, axes.vocab, tied_to=TOKEN_TABLE)
    embedded = norm(block, spec, "embedding_norm", embedded, (axes.hidden,))
    stream = norm(block, spec, "stream_norm", STREAM, (axes.hidden,))
    both = Axis("latent", 2 * spec.hidden)
    # Concatenation has the costs and the sharding of the other assembly of two tensors, MLA's rotary key.
    joined = block.operator(
        "concatenate",
        "rope",
        (stream, embedded),
        (BATCH, SEQUENCE, both),
        module="residual",
        attributes={"function": "concatenate"},
    )
    stream = block.einsum("projection", joined, (both, axes.hidden), module="mlp")
    stream = transformer_layer(block, spec, stream, routed=spec.moe is not None)
    stream = norm(block, spec, "final_norm", stream, (axes.hidden,))
    logits_and_loss(block, spec, stream, tied_to=TOKEN_TABLE if spec.tied_embeddings else HEAD_WEIGHT)
    return block.build(STREAM)
