"""Ring attention (arXiv 2310.01889): keys and values travel from rank to rank, results merge by their log-sum-exp.

Forward: c - 1 hops of keys and values in one message. Backward: the same again, and c hops of their gradients, which
accumulate on the way and come home.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from planner.validation.trainer.context.blocks import Merger, from_rank
from planner.validation.trainer.context.kernels import Attended, block_backward, block_forward
from planner.validation.trainer.context.rotation import Passing, Ring, packed, unpacked


class _RingAttention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, ring: Ring, zigzag: bool, fused: bool) -> Tensor:
        merger = Merger()
        message = packed(k, v)
        for hops in range(ring.size):
            passing = ring.pass_on(message) if hops < ring.size - 1 else None
            keys, values = unpacked(message, k, v)
            for seen in from_rank(ring.source(hops), ring.place, q.shape[2], zigzag=zigzag):
                part = keys[:, :, seen.keys], values[:, :, seen.keys]
                block = block_forward(q[:, :, seen.queries], *part, causal=seen.causal, fused=fused)
                merger.add(seen.queries, block, q)
            if passing is not None:
                message = passing.arrived()
        whole = merger.result(q.dtype)
        ctx.save_for_backward(q, k, v, whole.out, whole.lse)
        ctx.options = ring, zigzag, fused
        return whole.out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        q, k, v, out, lse = ctx.saved_tensors
        ring, zigzag, fused = ctx.options
        grad_q = torch.zeros_like(q)
        message = packed(k, v)
        homeward: Passing | None = None
        for hops in range(ring.size):
            passing = ring.pass_on(message) if hops < ring.size - 1 else None
            keys, values = unpacked(message, k, v)
            gradients = torch.zeros_like(message)
            grad_k, grad_v = unpacked(gradients, k, v)
            for seen in from_rank(ring.source(hops), ring.place, q.shape[2], zigzag=zigzag):
                whole = Attended(out[:, :, seen.queries], lse[:, :, seen.queries])
                parts = block_backward(
                    gradient[:, :, seen.queries],
                    q[:, :, seen.queries],
                    keys[:, :, seen.keys],
                    values[:, :, seen.keys],
                    whole,
                    causal=seen.causal,
                    fused=fused,
                )
                grad_q[:, :, seen.queries] += parts[0]
                grad_k[:, :, seen.keys] += parts[1]
                grad_v[:, :, seen.keys] += parts[2]
            if homeward is not None:
                gradients += homeward.arrived()
            homeward = ring.pass_on(gradients)
            if passing is not None:
                message = passing.arrived()
        assert homeward is not None
        grad_k, grad_v = unpacked(homeward.arrived(), k, v)
        return grad_q, grad_k, grad_v, None, None, None


def ring_attention(q: Tensor, k: Tensor, v: Tensor, ring: Ring, *, zigzag: bool, fused: bool) -> Tensor:
    """Causal attention over the sequence of all ranks of a ring.

    Args:
        q, k, v: this rank's part, (batch, heads, tokens, width).
        zigzag: see ``blocks.from_rank``; else rank r holds the r-th part in order.
        fused: see ``kernels.attend``.
    """
    function: Any = _RingAttention
    result: Tensor = function.apply(q, k, v, ring, zigzag, fused)
    return result
