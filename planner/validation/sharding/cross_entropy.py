"""Cross entropy summed over rows whose classes may lie on several ranks (Megatron-LM, arXiv 1909.08053, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.distributed import _functional_collectives as functional

from planner.validation.sharding.layout import Shares, waited

if TYPE_CHECKING:
    from torch import Tensor


def vocabulary_cross_entropy(logits: Tensor, target: Tensor, shares: Shares) -> Tensor:
    """Sum over this rank's rows of log(sum of exponentials) - logit of the target.

    Args:
        logits: [rows, this rank's classes].
        target: [rows], ids among all classes.
        shares: of the operator; ranks that split its classes exchange three numbers per row.
    """
    result: Tensor = _CrossEntropy.apply(logits, target, shares)  # type: ignore[no-untyped-call]
    return result


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, shares: Shares) -> Tensor:
        wide = logits if logits.dtype == torch.float64 else logits.float()
        own = target - shares.place("vocabulary") * logits.shape[1]
        inside = (own >= 0) & (own < logits.shape[1])
        index = own.where(inside, 0).unsqueeze(1)
        largest = _reduced(wide.max(dim=1).values, "max", shares)
        powers = (wide - largest.unsqueeze(1)).exp()
        total = _reduced(powers.sum(dim=1), "sum", shares)
        picked = _reduced(wide.gather(1, index).squeeze(1) * inside, "sum", shares)
        ctx.save_for_backward(powers / total.unsqueeze(1), index, inside)
        ctx.dtype = logits.dtype
        return (total.log() + largest - picked).sum().to(logits.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        odds, index, inside = ctx.saved_tensors
        ones = inside.unsqueeze(1).to(odds.dtype)
        return (odds.scatter_add(1, index, -ones) * gradient).to(ctx.dtype), None, None


def _reduced(values: Tensor, how: str, shares: Shares) -> Tensor:
    """One all-reduce per mesh dimension that splits the classes."""
    for dim in shares.mesh_dims("vocabulary"):
        if shares.mesh.size(dim) > 1:
            values = waited(functional.all_reduce(values, how, (shares.mesh, dim)))
    return values
