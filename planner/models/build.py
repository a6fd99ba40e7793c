"""From a checked description to the graph of the model."""

from __future__ import annotations

from planner.models.families.decoder import decoder
from planner.models.families.encoder import encoder
from planner.models.families.encoder_decoder import encoder_decoder
from planner.models.families.vit import vit
from planner.models.graph import Block, ModelGraph
from planner.models.spec import ModelSpec


def build_graph(spec: ModelSpec) -> ModelGraph:
    """The blocks of operators that ``spec`` describes, in order."""
    blocks, order = _family(spec)
    attention = spec.heads is not None
    return ModelGraph(
        name=spec.name,
        blocks=blocks,
        order=order,
        hidden=spec.hidden,
        vocab=spec.padded_vocab,
        seq_len=spec.seq_len,
        heads=spec.heads,
        kv_heads=spec.key_heads if attention else None,
        head_dim=spec.head_width if attention else None,
        tied_embeddings=spec.tied_embeddings,
        experts=spec.moe.experts if spec.moe is not None else 0,
        top_k=spec.moe.topk if spec.moe is not None else 0,
    )


def _family(spec: ModelSpec) -> tuple[dict[str, Block], tuple[str, ...]]:
    if spec.encoder is not None:
        return encoder_decoder(spec, spec.encoder)
    if spec.vision is not None:
        return vit(spec, spec.vision)
    if spec.family == "encoder":
        return encoder(spec)
    return decoder(spec)
