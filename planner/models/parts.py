"""The optional parts of a model description: experts, latent attention, encoder, state space, vision."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from planner.documents.fields import count

LARGEST = 1 << 40
MOST_LAYERS = 100_000

Size = Annotated[int, Field(gt=0, lt=LARGEST), count()]
Count = Annotated[int, Field(ge=0, lt=LARGEST), count()]
Layers = Annotated[int, Field(gt=0, le=MOST_LAYERS), count()]
MoreLayers = Annotated[int, Field(ge=0, le=MOST_LAYERS), count()]


class Moe(BaseModel):
    """Routed experts.

    Args:
        experts, topk: routed experts per layer and those that one token uses.
        moe_ffn: inner width of one routed expert.
        shared_experts: experts that every token uses; together ``shared_ffn_total`` wide (default their number x moe_ffn).
        dense_layers: the first n layers keep a dense MLP.
        every: of the other layers every n-th routes (2: dense, routed, dense, routed, as in GShard).
        router_bias, expert_bias: trained biases of the router and of the expert projections (gpt-oss).
        activation_limit: gate and value of an expert are clamped at it before they are multiplied (gpt-oss).
        shared_gate: a learned scalar gate on the shared experts' output (Qwen2-MoE).
        score: how router logits become weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    experts: Size
    topk: Size
    moe_ffn: Size
    shared_experts: Count = 0
    shared_ffn_total: Size | None = None
    dense_layers: Count = 0
    every: Size = 1
    router_bias: bool = False
    expert_bias: bool = False
    activation_limit: Annotated[float, Field(gt=0)] | None = None
    shared_gate: bool = False
    score: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def shared_ffn(self) -> int:
        """Inner width of the shared experts together; 0 when there are none."""
        if self.shared_ffn_total is not None:
            return self.shared_ffn_total
        return self.shared_experts * self.moe_ffn

    def routes(self, index: int) -> bool:
        """Whether layer ``index`` (from 0) has routed experts."""
        if index < self.dense_layers:
            return False
        return (index - self.dense_layers + 1) % self.every == 0


class Mla(BaseModel):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434); ``q_lora_rank`` None: queries are not compressed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q_lora_rank: Size | None = None
    kv_lora_rank: Size
    qk_nope_head_dim: Size
    qk_rope_head_dim: Size
    v_head_dim: Size


class Encoder(BaseModel):
    """The encoder of an encoder-decoder; it shares hidden, heads and ffn_hidden with the decoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: Layers


class Mamba2(BaseModel):
    """State-space block of Mamba-2 (arXiv 2405.21060): inner width = expand x hidden, split in heads of head_dim.

    ``mlp``: the layer also has the model's MLP (hybrids such as Jamba); ``conv_bias``: of the short convolution.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    state: Size = 128
    groups: Size = 1
    conv: Size = 4
    expand: Annotated[float, Field(gt=0, lt=1024)] = 2
    head_dim: Size = 64
    conv_bias: bool = True
    biases: bool = False
    mlp: bool = False


class Vision(BaseModel):
    """Image input of a ViT: ``patch`` pixels square, ``channels`` deep; ``vocab`` is the number of classes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: Size = 224
    patch: Size = 16
    channels: Size = 3
