"""What a user writes about a model: one flat description for every family, checked at the border."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from planner.documents.fields import count
from planner.models.parts import LARGEST, Count, Encoder, Layers, Mamba2, Mla, Moe, MoreLayers, Size, Vision

Family = Literal["decoder", "encoder", "encoder_decoder", "vit", "mamba2", "hybrid"]
LayerKind = Literal["global", "local", "mamba2"]
Biases = Literal["none", "qkv", "attention", "mlp", "all"]
NormPlacement = Literal["pre", "sandwich", "branch", "post"]
QkNorm = Literal["none", "head_dim", "heads"]
Positions = Literal["learned", "rope", "none", "alibi", "relative"]
Activation = Literal["gelu", "silu", "relu", "relu2"]


def _biases(value: object) -> object:
    """``true`` and ``false`` mean ``all`` and ``none``."""
    if isinstance(value, bool):
        return "all" if value else "none"
    return value


def _qk_norm(value: object) -> object:
    """``true`` and ``false`` mean ``head_dim`` and ``none``."""
    if isinstance(value, bool):
        return "head_dim" if value else "none"
    return value


Tokens = Annotated[int, Field(gt=0, lt=LARGEST), count(binary=True)]


class ModelSpec(BaseModel):
    """Dimensions and switches of one model.

    Args:
        layers: transformer (or state-space) layers; of the decoder for an encoder-decoder. MTP layers are extra.
        hidden: width of the residual stream.
        heads, kv_heads, head_dim: attention; default kv_heads = heads, head_dim = hidden / heads.
        ffn_hidden: inner width of a dense MLP (of one of the two halves when gated).
        gated_mlp: gate and up projections with a pointwise product (SwiGLU, GeGLU).
        vocab, pad_vocab_to: tokens, and the multiple to which tables are padded (Megatron: 128 x tp).
        seq_len: default sequence length (of the encoder for an encoder-decoder).
        decoder_seq_len: target length of an encoder-decoder when it differs.
        norm: LayerNorm has a bias unless ``norm_bias: false``.
        norm_placement: ``pre`` (GPT-2, Llama); ``sandwich`` before and after each branch (Gemma 2/3);
            ``branch`` only after each branch (OLMo 2); ``post`` after each residual addition (BERT).
        biases: which projections have one; ``attention`` = qkv and output.
        positions: learned tables have ``learned_positions`` rows (default seq_len).
        parallel_block, parallel_norms: attention and MLP side by side, reading one shared norm or two.
        qk_norm: of queries and keys, weights of size head_dim (Qwen 3) or heads x head_dim (OLMo 2).
        sliding_window, layer_pattern: ``local`` layers see that many tokens. The pattern repeats over the layers;
            default all local when a window is given. ``mamba2`` entries make a hybrid.
        attention_sinks: one learned logit per head (gpt-oss).
        published_parameters, tolerance, source: where the description comes from and what it should count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "model"
    family: Family = "decoder"
    layers: Layers
    hidden: Size
    heads: Size | None = None
    kv_heads: Size | None = None
    head_dim: Size | None = None
    ffn_hidden: Size | None = None
    gated_mlp: bool = False
    activation: Activation = "gelu"
    vocab: Size
    pad_vocab_to: Size = 1
    seq_len: Tokens = 2048
    decoder_seq_len: Tokens | None = None
    norm: Literal["rms", "layer", "none"] = "rms"
    norm_bias: bool = True
    norm_placement: NormPlacement = "pre"
    final_norm: bool = True
    embedding_norm: bool = False
    biases: Annotated[Biases, BeforeValidator(_biases)] = "none"
    head_bias: bool = False
    positions: Positions = "rope"
    learned_positions: Size | None = None
    relative_buckets: Size = 32
    token_types: Count = 0
    tied_embeddings: bool = False
    parallel_block: bool = False
    parallel_norms: Literal[1, 2] = 1
    qk_norm: Annotated[QkNorm, BeforeValidator(_qk_norm)] = "none"
    sliding_window: Size | None = None
    layer_pattern: tuple[LayerKind, ...] = ()
    attention_soft_cap: bool = False
    final_soft_cap: bool = False
    attention_sinks: bool = False
    moe: Moe | None = None
    mla: Mla | None = None
    mtp_layers: MoreLayers = 0
    encoder: Encoder | None = None
    mamba2: Mamba2 | None = None
    vision: Vision | None = None
    source: str | None = None
    published_parameters: Size | None = None
    published_active_parameters: Size | None = None
    published_tolerance: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from planner.models.rules import check

        check(self)
        return self

    @property
    def padded_vocab(self) -> int:
        """Rows of the token table: vocab rounded up to a multiple of ``pad_vocab_to``."""
        return -(-self.vocab // self.pad_vocab_to) * self.pad_vocab_to

    @property
    def query_heads(self) -> int:
        """Query heads; 1 for models without attention."""
        return self.heads or 1

    @property
    def key_heads(self) -> int:
        """Key and value heads; MLA rebuilds one per query head."""
        if self.mla is not None:
            return self.query_heads
        return self.kv_heads or self.query_heads

    @property
    def head_width(self) -> int:
        """Width of one query or key head."""
        if self.mla is not None:
            return self.mla.qk_nope_head_dim + self.mla.qk_rope_head_dim
        return self.head_dim or self.hidden // self.query_heads

    def layer_kinds(self) -> tuple[LayerKind, ...]:
        """The attention (or state-space) kind of each layer, first to last."""
        default: LayerKind = "global"
        if self.family == "mamba2":
            default = "mamba2"
        elif self.sliding_window is not None:
            default = "local"
        pattern = self.layer_pattern or (default,)
        return tuple(pattern[index % len(pattern)] for index in range(self.layers))

    def mlp_layers(self) -> tuple[bool, ...]:
        """Which layers have a feed-forward part, dense or routed, first to last."""
        state_space = self.mamba2 is not None and self.mamba2.mlp
        return tuple(kind != "mamba2" or state_space for kind in self.layer_kinds())

    def moe_layers(self) -> tuple[bool, ...]:
        """Which layers have routed experts instead of a dense MLP, first to last."""
        if self.moe is None:
            return (False,) * self.layers
        present = self.mlp_layers()
        return tuple(present[index] and self.moe.routes(index) for index in range(self.layers))
