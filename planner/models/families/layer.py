"""One transformer layer: attention and MLP (or experts), one after the other or side by side."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.attention import self_attention
from planner.models.families.experts import mixture
from planner.models.families.latent_attention import latent_attention
from planner.models.families.mlp import mlp
from planner.models.families.norms import after_branch, before_branch
from planner.models.spec import ModelSpec

STREAM = "stream"


def attention_branch(
    block: BlockBuilder,
    spec: ModelSpec,
    source: str,
    *,
    local: bool = False,
    causal: bool = True,
    relative_table: bool = False,
) -> str:
    """The attention of this model: latent when it has ``mla``, windowed when the layer is local."""
    window = spec.sliding_window if local else None
    if spec.mla is not None:
        return latent_attention(block, spec, spec.mla, source, window=window, causal=causal)
    return self_attention(block, spec, source, window=window, causal=causal, relative_table=relative_table)


def mlp_branch(block: BlockBuilder, spec: ModelSpec, source: str, *, routed: bool) -> str:
    """The dense MLP, or the experts of a routed layer."""
    if routed and spec.moe is not None:
        return mixture(block, spec, spec.moe, source)
    return mlp(block, spec, source)


def transformer_layer(
    block: BlockBuilder,
    spec: ModelSpec,
    stream: str,
    *,
    local: bool = False,
    routed: bool = False,
    causal: bool = True,
    relative_table: bool = False,
) -> str:
    """Adds a whole layer to ``block`` and returns the stream that leaves it."""
    if spec.parallel_block:
        return _parallel(block, spec, stream, local=local, causal=causal)
    source = before_branch(block, spec, "attention", stream)
    branch = attention_branch(block, spec, source, local=local, causal=causal, relative_table=relative_table)
    stream = after_branch(block, spec, "attention", stream, branch)
    return mlp_part(block, spec, stream, routed=routed)


def mlp_part(block: BlockBuilder, spec: ModelSpec, stream: str, *, routed: bool) -> str:
    """Second half of a layer: norm, MLP or experts, residual."""
    source = before_branch(block, spec, "mlp", stream)
    branch = mlp_branch(block, spec, source, routed=routed)
    return after_branch(block, spec, "mlp", stream, branch)


def _parallel(block: BlockBuilder, spec: ModelSpec, stream: str, *, local: bool, causal: bool) -> str:
    """Attention and MLP read the same stream; their sum is added to it (GPT-J, GPT-NeoX, Falcon, Cohere)."""
    source = before_branch(block, spec, "attention", stream)
    attended = attention_branch(block, spec, source, local=local, causal=causal)
    if spec.parallel_norms == 2:
        source = before_branch(block, spec, "mlp", stream)
    fed = mlp_branch(block, spec, source, routed=False)
    branch = block.pointwise("branches_add", "add", attended, fed, module="residual")
    return after_branch(block, spec, "block", stream, branch)
