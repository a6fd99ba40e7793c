"""A small mixture of experts with its loss: each token's two best of eight experts, all experts as one einsum.

plan shard examples/operator_graphs/moe.py:make_module --mesh 2x2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Experts(nn.Module):
    """Every expert computes every token; weights of experts that a token did not choose are zero."""

    def __init__(self, hidden: int, ffn: int, experts: int, chosen: int) -> None:
        super().__init__()
        self.chosen = chosen
        self.router = nn.Linear(hidden, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, hidden, ffn) / hidden**0.5)
        self.down = nn.Parameter(torch.randn(experts, ffn, hidden) / ffn**0.5)

    def forward(self, x: Tensor) -> Tensor:
        odds = self.router(x).softmax(-1)
        best, places = odds.topk(self.chosen, dim=-1)
        weights = torch.zeros_like(odds).scatter(-1, places, best / best.sum(-1, keepdim=True))
        inner = F.silu(torch.einsum("bsh,ehf->bsef", x, self.up))
        outer = torch.einsum("bsef,efh->bseh", inner, self.down)
        return torch.einsum("bseh,bse->bsh", outer, weights)


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, experts: int) -> None:
        super().__init__()
        self.width = hidden // heads
        self.norm1, self.norm2 = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.q, self.k = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.v, self.o = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.experts = Experts(hidden, 2 * hidden, experts, chosen=2)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        y = self.norm1(x)
        parts = (self.q(y), self.k(y), self.v(y))
        q, k, v = (part.view(batch, length, -1, self.width).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(attended.transpose(1, 2).flatten(2))
        return x + self.experts(self.norm2(x))


class MoE(nn.Module):
    def __init__(
        self, vocab: int = 128, hidden: int = 64, heads: int = 8, layers: int = 2, experts: int = 8
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads, experts) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(hidden), nn.Linear(hidden, vocab, bias=False)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers of eight experts, batch 8, 16 tokens."""
    torch.manual_seed(0)
    return MoE(), (torch.randint(128, (8, 16)), torch.randint(128, (8, 16)))
