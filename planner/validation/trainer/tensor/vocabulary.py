"""Token table and cross entropy over a vocabulary that tensor parallelism cuts (Megatron-LM, arXiv 1909.08053)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup
from torch.nn import functional

from planner.validation.trainer.exchange import all_reduce


def partial_rows(tokens: Tensor, weight: Tensor, group: ProcessGroup) -> Tensor:
    """Rows of the tokens whose rows this rank holds, zeros for the others: the sum over ranks is the look-up."""
    local, foreign = _localised(tokens, weight.shape[0], group)
    return functional.embedding(local, weight).masked_fill(foreign[..., None], 0.0)


def _localised(tokens: Tensor, rows: int, group: ProcessGroup) -> tuple[Tensor, Tensor]:
    """Row numbers within this rank's table (0 for others), and which tokens are others'."""
    first = group.rank() * rows
    foreign = (tokens < first) | (tokens >= first + rows)
    return (tokens - first).masked_fill(foreign, 0), foreign


class _CrossEntropy(Function):
    """Three all-reduces of one number per token: the maximum, the target's logit, the sum of exponentials."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, group: ProcessGroup) -> Tensor:
        wide = logits.float() if logits.element_size() < 4 else logits.clone()
        wide -= all_reduce(wide.amax(-1), group, dist.ReduceOp.MAX)[..., None]
        local, foreign = _localised(labels, logits.shape[-1], group)
        target = wide.gather(-1, local[..., None])[..., 0].masked_fill(foreign, 0.0)
        dist.all_reduce(target, group=group)
        wide.exp_()
        total = wide.sum(-1)
        dist.all_reduce(total, group=group)
        wide /= total[..., None]
        ctx.save_for_backward(wide, local, foreign)
        ctx.dtype = logits.dtype
        return total.log() - target

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        softmax, local, foreign = ctx.saved_tensors
        own = torch.ones_like(gradient).masked_fill(foreign, 0.0)
        result = softmax.scatter_add(-1, local[..., None], -own[..., None])
        result *= gradient[..., None]
        return result.to(ctx.dtype), None, None


def parallel_cross_entropy(logits: Tensor, labels: Tensor, group: ProcessGroup) -> Tensor:
    """Cross entropy of each token.

    Args:
        logits: (batch, tokens, vocabulary / ranks); labels: (batch, tokens) in the whole vocabulary.
    """
    function: Any = _CrossEntropy
    result: Tensor = function.apply(logits, labels, group)
    return result
