"""One matrix product per expert over rows that are sorted by expert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def grouped_linear(rows: Tensor, weights: Tensor, counts: Sequence[int]) -> Tensor:
    """rows of expert e times weights[e] transposed, for all experts in one tensor.

    Products write into their part of the result, so that no expert's result is copied.

    Args:
        rows: (rows, inputs). weights: (experts, outputs, inputs). counts: rows of each expert.
    """
    result: Tensor = _GroupedLinear.apply(rows, weights, counts)  # type: ignore[no-untyped-call]
    return result


class _GroupedLinear(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.counts = list(counts)
        result = rows.new_empty((rows.shape[0], weights.shape[1]))
        for part, weight, out in zip(_parts(rows, ctx), weights, _parts(result, ctx), strict=True):
            torch.mm(part, weight.t(), out=out)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, weights = ctx.saved_tensors
        of_rows = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        of_weights = torch.empty_like(weights) if ctx.needs_input_grad[1] else None
        gradients = _parts(gradient.contiguous(), ctx)
        if of_rows is not None:
            for part, weight, out in zip(gradients, weights, _parts(of_rows, ctx), strict=True):
                torch.mm(part, weight, out=out)
        if of_weights is not None:
            for part, row, out in zip(gradients, _parts(rows, ctx), of_weights, strict=True):
                torch.mm(part.t(), row, out=out)
        return of_rows, of_weights, None


def _parts(rows: Tensor, ctx: Any) -> Sequence[Tensor]:
    """The rows of each expert."""
    return torch.split(rows, ctx.counts)
