"""Two linear layers with a nonlinearity between: the smallest graph in which a sharding choice matters.

plan shard examples/operator_graphs/mlp.py:make_module --mesh 4
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def make_module() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """64 -> 256 -> 64 on a batch of eight times 16."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))
    return module, (torch.randn(8, 16, 64),)
