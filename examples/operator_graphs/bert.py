"""A small BERT with its masked-language loss: two embeddings and positions, norms after, a head with its own bias.

plan shard examples/operator_graphs/bert.py:make_module --mesh 2x2
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Layer(nn.Module):
    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.width = hidden // heads
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.value, self.output = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, 4 * hidden), nn.Linear(4 * hidden, hidden)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(hidden), nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        parts = (self.query(x), self.key(x), self.value(x))
        q, k, v = (part.view(batch, length, -1, self.width).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + self.output(attended))
        return self.mlp_norm(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(
        self, vocab: int = 128, hidden: int = 64, heads: int = 8, layers: int = 2, length: int = 16
    ) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocab, hidden), nn.Embedding(length, hidden)
        self.types = nn.Embedding(2, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.layers = nn.ModuleList(Layer(hidden, heads) for _ in range(layers))
        self.transform, self.transform_norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, ids: Tensor, types: Tensor, targets: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(places) + self.types(types))
        for layer in self.layers:
            x = layer(x)
        x = self.transform_norm(F.gelu(self.transform(x)))
        logits = F.linear(x, self.words.weight) + self.bias
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two layers, batch 8, 16 tokens."""
    torch.manual_seed(0)
    ids, types, targets = (torch.randint(limit, (8, 16)) for limit in (128, 2, 128))
    return Bert(), (ids, types, targets)
