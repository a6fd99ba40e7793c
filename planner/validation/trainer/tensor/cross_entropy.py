"""Cross entropy of tokens in the forms that frameworks have, over a whole vocabulary or one that ranks share out.

With several ranks each form makes three all-reduces of one number per token: the maximum, the target's logit and the sum of
exponentials (Megatron-LM, arXiv 1909.08053, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup
from torch.nn import functional

from planner.validation.trainer.model.fused import wide
from planner.validation.trainer.settings import Settings
from planner.validation.trainer.tensor.vocabulary import localised

LossKernel = Literal["pytorch", "megatron", "in_place"]
"""PyTorch's operators; Megatron-LM's, which keep the softmax in fp32; one kernel that writes the gradient over the logits
(Transformer Engine, transformer_engine/common/triton/cross_entropy.py)."""

PIECE_ELEMENTS = 1 << 22
"""Logits that the kernel in place widens at a time."""


def loss_kernel(settings: Settings) -> LossKernel:
    """Whose cross entropy a run has."""
    if settings.fuses("cross_entropy") and settings.loss.fused:
        return "in_place"
    own = settings.convention == "megatron" and settings.framework.loss_kernels == "megatron"
    return "megatron" if own else "pytorch"


def cross_entropy(
    logits: Tensor, labels: Tensor, kernel: LossKernel, group: ProcessGroup | None = None
) -> Tensor:
    """Sum of the cross entropies of all tokens, in at least 32 bits; ``in_place`` overwrites the logits.

    Args:
        logits: (batch, tokens, vocabulary of this rank); labels: (batch, tokens) in the whole vocabulary.
        group: of the ranks that share out the vocabulary, which PyTorch's operators leave to Megatron-LM's.
    """
    if kernel == "pytorch" and group is None:
        return functional.cross_entropy(wide(logits).flatten(0, 1), labels.flatten(), reduction="sum")
    function: Any = _InPlace if kernel == "in_place" else _Kept
    result: Tensor = function.apply(logits, labels, group)
    return result.sum()


class _Kept(Function):
    """Keeps the softmax in fp32."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, group: ProcessGroup | None) -> Tensor:
        softmax = logits.float() if logits.element_size() < 4 else logits.clone()
        softmax -= _reduced(softmax.amax(-1), group, dist.ReduceOp.MAX)[..., None]
        local, foreign = localised(labels, logits.shape[-1], group)
        target = _reduced(softmax.gather(-1, local[..., None])[..., 0].masked_fill(foreign, 0.0), group)
        softmax.exp_()
        total = _reduced(softmax.sum(-1), group)
        softmax /= total[..., None]
        ctx.save_for_backward(softmax, local, foreign)
        ctx.dtype = logits.dtype
        return total.log() - target

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        softmax, local, foreign = ctx.saved_tensors
        own = torch.ones_like(gradient).masked_fill(foreign, 0.0)
        result = softmax.scatter_add(-1, local[..., None], -own[..., None])
        result *= gradient[..., None]
        return result.to(ctx.dtype), None, None


class _InPlace(Function):
    """Keeps the gradient where the logits were; a few rows at a time are wide."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, group: ProcessGroup | None) -> Tensor:
        rows = logits.detach().flatten(0, -2)
        local, foreign = localised(labels.flatten(), rows.shape[-1], group)
        highest = _reduced(wide(rows.amax(-1)), group, dist.ReduceOp.MAX)
        target = wide(rows.gather(-1, local[:, None])[:, 0]) - highest
        target = _reduced(target.masked_fill(foreign, 0.0), group)
        exponentials = ((part, (wide(rows[part]) - highest[part, None]).exp_()) for part in _pieces(rows))
        total = _reduced(torch.cat([values.sum(-1) for _, values in exponentials]), group)
        own = torch.ones_like(total).masked_fill(foreign, 0.0)
        for part in _pieces(rows):
            softmax = (wide(rows[part]) - highest[part, None]).exp_().div_(total[part, None])
            rows[part] = softmax.scatter_add_(-1, local[part, None], -own[part, None])
        ctx.save_for_backward(rows)
        ctx.shape = logits.shape
        return (total.log() - target).view(labels.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (rows,) = ctx.saved_tensors
        return rows.mul_(gradient.reshape(-1, 1)).view(ctx.shape), None, None


def _pieces(rows: Tensor) -> Iterator[slice]:
    step = max(PIECE_ELEMENTS // rows.shape[-1], 1)
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _reduced(x: Tensor, group: ProcessGroup | None, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    """Over the ranks in place."""
    if group is not None:
        dist.all_reduce(x, operation, group=group)
    return x
