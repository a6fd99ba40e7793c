"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values rebuilt from a latent.

Latents and the rotary part of the key have no heads: every rank makes them for the tokens of its stream.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planner.models.parts import Mla
from planner.validation.trainer.context.core import CoreAttention
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.model.linear import Linear
from planner.validation.trainer.model.norms import norm
from planner.validation.trainer.model.positions import rotate
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.strategy import tensor_parallel


class LatentAttention(nn.Module):
    """Compression, rebuilding, attention over the whole sequence, output projection."""

    unit = "attention"

    def __init__(self, settings: Settings, groups: Groups) -> None:
        super().__init__()
        spec = settings.model
        mla = spec.mla
        assert mla is not None
        self.mla: Mla = mla
        self.tensor = tensor = tensor_parallel(settings, groups)
        heads = spec.query_heads // tensor.size
        self._queries(settings, mla, heads)
        bias = spec.biases in ("qkv", "attention", "all")
        made = mla.kv_lora_rank + mla.qk_rope_head_dim
        self.kv_down = Linear(spec.hidden, made, bias=bias, partial=tensor.stream_axis)
        self.kv_norm = norm(settings, mla.kv_lora_rank, tensor.stream_axis)
        rebuilt = mla.qk_nope_head_dim + mla.v_head_dim
        self.kv_up = Linear(mla.kv_lora_rank, heads * rebuilt, bias=False, side="outputs")
        self.core = CoreAttention(settings, groups)
        out_bias = spec.biases in ("attention", "all")
        self.out = Linear(heads * mla.v_head_dim, spec.hidden, bias=out_bias, side="inputs")
        tensor.mark_row(self.out)

    def _queries(self, settings: Settings, mla: Mla, heads: int) -> None:
        """One projection, or two with a norm between them."""
        spec = settings.model
        self.compressed = mla.q_lora_rank is not None
        if mla.q_lora_rank is None:
            self.q = Linear(spec.hidden, heads * spec.head_width, bias=False, side="outputs")
            return
        bias = spec.biases in ("qkv", "attention", "all")
        self.q_down = Linear(spec.hidden, mla.q_lora_rank, bias=bias, partial=self.tensor.stream_axis)
        self.q_norm = norm(settings, mla.q_lora_rank, self.tensor.stream_axis)
        self.q_up = Linear(mla.q_lora_rank, heads * spec.head_width, bias=False, side="outputs")

    def forward(self, x: Tensor, table: Tensor | None) -> Tensor:
        """The branch's output for a normalised stream (batch, tokens, hidden)."""
        k, v = self._keys_values(x, table)
        context: Tensor = self.core(self._query(x, table), k, v)
        return self.tensor.row(context.flatten(2), self.out)

    def _query(self, x: Tensor, table: Tensor | None) -> Tensor:
        if self.compressed:
            (q,) = self.tensor.columns(self.q_norm(self.q_down(x)), self.q_up)
        else:
            (q,) = self.tensor.columns(x, self.q)
        q = q.view(*q.shape[:-1], -1, self.mla.qk_nope_head_dim + self.mla.qk_rope_head_dim)
        if table is None:
            return q
        plain, rotary = torch.split(q, [self.mla.qk_nope_head_dim, self.mla.qk_rope_head_dim], dim=-1)
        return torch.cat([plain, rotate(rotary, table)], dim=-1)

    def _keys_values(self, x: Tensor, table: Tensor | None) -> tuple[Tensor, Tensor]:
        mla = self.mla
        latent, rotary = torch.split(self.kv_down(x), [mla.kv_lora_rank, mla.qk_rope_head_dim], dim=-1)
        (rebuilt,) = self.tensor.columns(self.kv_norm(latent), self.kv_up)
        rebuilt = rebuilt.view(*rebuilt.shape[:-1], -1, mla.qk_nope_head_dim + mla.v_head_dim)
        plain, values = torch.split(rebuilt, [mla.qk_nope_head_dim, mla.v_head_dim], dim=-1)
        rotary = self.tensor.shared(rotary)[:, :, None]
        if table is not None:
            rotary = rotate(rotary, table)
        rotary = rotary.expand(*plain.shape[:-1], -1)
        return torch.cat([plain, rotary], dim=-1), values
