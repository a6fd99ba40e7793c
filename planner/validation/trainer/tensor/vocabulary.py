"""A vocabulary whose rows tensor parallelism cuts (Megatron-LM, arXiv 1909.08053)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional


def partial_rows(tokens: Tensor, weight: Tensor, group: ProcessGroup) -> Tensor:
    """Rows of the tokens whose rows this rank holds, zeros for the others: the sum over ranks is the look-up."""
    local, foreign = localised(tokens, weight.shape[0], group)
    return functional.embedding(local, weight).masked_fill(foreign[..., None], 0.0)


def localised(tokens: Tensor, rows: int, group: ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """Numbers within the ``rows`` rows of this rank (0 for others), and which tokens are others'."""
    if group is None:
        return tokens, torch.zeros_like(tokens, dtype=torch.bool)
    first = group.rank() * rows
    foreign = (tokens < first) | (tokens >= first + rows)
    return (tokens - first).masked_fill(foreign, 0), foreign
