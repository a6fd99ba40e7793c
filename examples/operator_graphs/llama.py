"""A small Llama with its loss: RMS norms, rotary positions, grouped queries, gated MLP; and one layer of Llama 3 8B.

plan shard examples/operator_graphs/llama.py:make_module --mesh 2x2
plan shard examples/operator_graphs/llama.py:layer_8b --mesh 8
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def rotated(x: Tensor, base: float = 10000.0) -> Tensor:
    """Rotary positions on [batch, heads, length, width]."""
    half = x.shape[-1] // 2
    rates = base ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)
    angles = torch.arange(x.shape[-2], device=x.device, dtype=x.dtype)[:, None] * rates
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, kv_heads: int, ffn: int) -> None:
        super().__init__()
        self.width = hidden // heads
        self.attention_norm, self.mlp_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.q, self.o = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.k = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.v = nn.Linear(hidden, kv_heads * self.width, bias=False)
        self.gate, self.up = nn.Linear(hidden, ffn, bias=False), nn.Linear(hidden, ffn, bias=False)
        self.down = nn.Linear(ffn, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        y = self.attention_norm(x)
        q = self.q(y).view(batch, length, -1, self.width).transpose(1, 2)
        k = self.k(y).view(batch, length, -1, self.width).transpose(1, 2)
        v = self.v(y).view(batch, length, -1, self.width).transpose(1, 2)
        attended = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True, enable_gqa=True)
        x = x + self.o(attended.transpose(1, 2).flatten(2))
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(
        self, vocab: int = 128, hidden: int = 64, heads: int = 8, kv_heads: int = 4, layers: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, kv_heads, 2 * hidden) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(hidden), nn.Linear(hidden, vocab, bias=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers, batch 8, 16 tokens."""
    torch.manual_seed(0)
    return Llama(), (torch.randint(128, (8, 16)), torch.randint(128, (8, 16)))


def layer_8b() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """One layer of Llama 3 8B in bf16 without its numbers (device meta), 4,096 tokens."""
    with torch.device("meta"):
        layer = Layer(hidden=4096, heads=32, kv_heads=8, ffn=14336).to(torch.bfloat16)
        return layer, (torch.empty(1, 4096, 4096, dtype=torch.bfloat16),)
