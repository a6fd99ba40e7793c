"""A small GPT-2 with its loss: fused q, k, v, learned positions, tied head.

plan shard examples/operator_graphs/gpt2.py:make_module --mesh 2x2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.width = hidden // heads
        self.ln_1, self.ln_2 = nn.LayerNorm(hidden), nn.LayerNorm(hidden)
        self.c_attn, self.c_proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, hidden = x.shape
        parts = self.c_attn(self.ln_1(x)).split(hidden, dim=-1)
        q, k, v = (part.view(batch, length, -1, self.width).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class GPT2(nn.Module):
    def __init__(
        self, vocab: int = 128, hidden: int = 64, heads: int = 8, layers: int = 2, length: int = 16
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, hidden), nn.Embedding(length, hidden)
        self.h = nn.ModuleList(Block(hidden, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(hidden)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.h:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers, batch 8, 16 tokens."""
    torch.manual_seed(0)
    return GPT2(), (torch.randint(128, (8, 16)), torch.randint(128, (8, 16)))
