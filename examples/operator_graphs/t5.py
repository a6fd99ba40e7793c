"""A small T5 with its loss: encoder and decoder, relative positions as a bias, attention written out, tied head.

plan shard examples/operator_graphs/t5.py:make_module --mesh 2x2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.width = hidden // heads
        self.q, self.k = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.v, self.o = nn.Linear(hidden, hidden, bias=False), nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, source: Tensor, bias: Tensor | None) -> Tensor:
        parts = (self.q(x), self.k(source), self.v(source))
        q, k, v = (part.view(*part.shape[:2], -1, self.width).transpose(1, 2) for part in parts)
        scores = q @ k.transpose(2, 3)
        scores = scores if bias is None else scores + bias
        attended = scores.softmax(-1) @ v
        return self.o(attended.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int, crossed: bool) -> None:
        super().__init__()
        self.norm1, self.attention = nn.RMSNorm(hidden), Attention(hidden, heads)
        self.norm2, self.cross = (nn.RMSNorm(hidden), Attention(hidden, heads)) if crossed else (None, None)
        self.norm3 = nn.RMSNorm(hidden)
        self.wi, self.wo = (
            nn.Linear(hidden, 4 * hidden, bias=False),
            nn.Linear(4 * hidden, hidden, bias=False),
        )

    def forward(self, x: Tensor, bias: Tensor, source: Tensor | None = None) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, bias)
        if self.norm2 is not None and self.cross is not None and source is not None:
            x = x + self.cross(self.norm2(x), source, None)
        return x + self.wo(F.relu(self.wi(self.norm3(x))))


class T5(nn.Module):
    def __init__(
        self, vocab: int = 128, hidden: int = 64, heads: int = 8, layers: int = 2, buckets: int = 8
    ) -> None:
        super().__init__()
        self.buckets = buckets
        self.shared = nn.Embedding(vocab, hidden)
        self.encoder_bias, self.decoder_bias = nn.Embedding(buckets, heads), nn.Embedding(buckets, heads)
        self.encoder = nn.ModuleList(Layer(hidden, heads, crossed=False) for _ in range(layers))
        self.decoder = nn.ModuleList(Layer(hidden, heads, crossed=True) for _ in range(layers))
        self.encoder_norm, self.decoder_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)

    def relative(self, table: nn.Embedding, length: int) -> Tensor:
        places = torch.arange(length, device=table.weight.device)
        distance = (places[:, None] - places[None, :]).abs().clamp(max=self.buckets - 1)
        return table(distance).permute(2, 0, 1)[None]

    def forward(self, source: Tensor, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.shared(source)
        bias = self.relative(self.encoder_bias, source.shape[1])
        for layer in self.encoder:
            x = layer(x, bias)
        encoded = self.encoder_norm(x)
        length = ids.shape[1]
        future = torch.full((length, length), -1e9, dtype=x.dtype, device=x.device).triu(1)
        bias = self.relative(self.decoder_bias, length) + future
        y = self.shared(ids)
        for layer in self.decoder:
            y = layer(y, bias, encoded)
        logits = F.linear(self.decoder_norm(y), self.shared.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers each, batch 8, 16 tokens in and 16 out."""
    torch.manual_seed(0)
    source, ids, targets = (torch.randint(128, (8, 16)) for _ in range(3))
    return T5(), (source, ids, targets)
