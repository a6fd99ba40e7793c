"""Rotary position encoding (RoFormer, arXiv 2104.09864), before heads and sequence change places.

Applied after that transposition it would keep a contiguous copy of queries and keys for backward.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0


def rope_table(places: Tensor, width: int, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(2, tokens, 1, width): cosines and sines of the angles of these places in the sequence."""
    exponents = torch.arange(0, width, 2, dtype=torch.float64, device=device) / width
    angles = places.to(device=device, dtype=torch.float64)[:, None] * BASE**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, None, :]
    return torch.stack([angles.cos(), angles.sin()]).to(dtype)


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Queries or keys (batch, tokens, heads, width) turned by their places."""
    table = table.to(x.dtype)  # under autocast the stream may be wider than its projections
    first, second = x.chunk(2, dim=-1)
    return x * table[0] + torch.cat([-second, first], dim=-1) * table[1]
