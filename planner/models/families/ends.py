"""The two ends of a language model: token embedding, and head with its loss."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.layer import STREAM
from planner.models.families.norms import norm
from planner.models.graph import BATCH, SEQUENCE, Axis, Block
from planner.models.spec import ModelSpec

TOKENS = "tokens"
TOKEN_TABLE = "token_table"
HEAD_WEIGHT = "head_weight"


def embedding(spec: ModelSpec, name: str = "embedding", *, tied: bool = False, scale: float = 1.0) -> Block:
    """Token table, learned positions, token types and the norm behind them, as far as the model has them.

    Args:
        tied: the token table is another block's (decoder of an encoder-decoder).
        scale: see ``Block.sequence_scale``.
    """
    axes = ModelAxes(spec)
    block = BlockBuilder(name, "embedding", TOKENS, (BATCH, SEQUENCE))
    stream = lookup(
        block, spec, "token_embedding", TOKEN_TABLE, axes.vocab, tied_to=TOKEN_TABLE if tied else None
    )
    if spec.positions == "learned":
        rows = Axis("positions", spec.learned_positions or spec.seq_len)
        stream = _added(block, spec, stream, "position", rows)
    if spec.token_types:
        stream = _added(block, spec, stream, "token_type", Axis("classes", spec.token_types))
    if spec.embedding_norm:
        stream = norm(block, spec, "embedding_norm", stream, (axes.hidden,))
    return block.build(stream, sequence_scale=scale)


def lookup(
    block: BlockBuilder, spec: ModelSpec, name: str, table: str, rows: Axis, *, tied_to: str | None = None
) -> str:
    """Rows of a table, one per token."""
    axes = ModelAxes(spec)
    parameter = block.parameter(table, (rows, axes.hidden), tied_to)
    return block.operator(
        name, "embedding", (TOKENS,), axes.stream, module="embedding", parameters=(parameter,)
    )


def _added(block: BlockBuilder, spec: ModelSpec, stream: str, name: str, rows: Axis) -> str:
    branch = lookup(block, spec, f"{name}_embedding", f"{name}_table", rows)
    return block.pointwise(f"{name}_residual", "residual", stream, branch, module="embedding")


def head(spec: ModelSpec, *, scale: float = 1.0) -> Block:
    """Final norm, projection to the vocabulary and softmax cross entropy; tied to the token table when the model ties."""
    axes = ModelAxes(spec)
    block = BlockBuilder("head", "head", STREAM, axes.stream)
    stream = STREAM
    if spec.final_norm:
        stream = norm(block, spec, "final_norm", stream, (axes.hidden,))
    tied_to = TOKEN_TABLE if spec.tied_embeddings else None
    return block.build(logits_and_loss(block, spec, stream, tied_to=tied_to), sequence_scale=scale)


def logits_and_loss(block: BlockBuilder, spec: ModelSpec, source: str, *, tied_to: str | None) -> str:
    """Projects to the vocabulary and takes the loss.

    Args:
        source: (batch, sequence, width).
        tied_to: parameter of another block that is the weight, None when the weight is stored here.
    """
    axes = ModelAxes(spec)
    logits = block.einsum(
        "head",
        source,
        (block.tensors[source].axes[-1], axes.vocab),
        module="head",
        bias=spec.head_bias,
        tied_to=tied_to,
        output="logits",
    )
    return block.operator(
        "loss",
        "vocabulary_loss",
        (logits,),
        (BATCH, SEQUENCE),
        module="loss",
        saves=(logits,),
        dtype="fp32",
        attributes={"soft_cap": spec.final_soft_cap},
        output="loss",
    )
