"""Context parallelism by gathering keys and values of all ranks (Llama 3, arXiv 2407.21783, section 3.3.2).

Queries stay; gradients of keys and values are reduce-scattered. Where the profile gathers inputs again in backward, only
the rank's own keys and values are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup

from planner.validation.trainer.context.blocks import Merger, of_sequence
from planner.validation.trainer.context.kernels import Attended, block_backward, block_forward
from planner.validation.trainer.exchange import gather, reduce_scatter

TOKENS = 2


@dataclass(frozen=True)
class Gathering:
    """How the sequence lies on the ranks of a group.

    Args:
        zigzag: rank r holds chunks r and 2c - 1 - r of 2c; else the r-th of c.
        regathers: backward gathers again instead of keeping the whole.
        fused: see ``kernels.attend``.
    """

    group: ProcessGroup
    zigzag: bool
    regathers: bool
    fused: bool

    def chunks(self, rank: int) -> tuple[int, ...]:
        """Numbers of the chunks that a rank holds, in its order."""
        return (rank, 2 * self.group.size() - 1 - rank) if self.zigzag else (rank,)

    def in_order(self, x: Tensor) -> Tensor:
        """The whole sequence in order from the rank's part."""
        whole = gather(x, self.group, TOKENS)
        held = [chunk for rank in range(self.group.size()) for chunk in self.chunks(rank)]
        parts = whole.chunk(len(held), TOKENS)
        return torch.cat([parts[held.index(chunk)] for chunk in range(len(held))], TOKENS)

    def back(self, x: Tensor) -> Tensor:
        """The rank's part of the sum over ranks of something along the whole sequence in order."""
        held = [chunk for rank in range(self.group.size()) for chunk in self.chunks(rank)]
        parts = x.chunk(len(held), TOKENS)
        return reduce_scatter(torch.cat([parts[chunk] for chunk in held], TOKENS), self.group, TOKENS)


class _GatheredAttention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, how: Gathering) -> Tensor:
        keys, values = how.in_order(k), how.in_order(v)
        chunks = how.chunks(how.group.rank())
        merger = Merger()
        for seen in of_sequence(chunks, q.shape[TOKENS] // len(chunks)):
            part = keys[:, :, seen.keys], values[:, :, seen.keys]
            block = block_forward(q[:, :, seen.queries], *part, causal=seen.causal, fused=how.fused)
            merger.add(seen.queries, block, q)
        whole = merger.result(q.dtype)
        kept = (k, v) if how.regathers else (keys, values)
        ctx.save_for_backward(q, *kept, whole.out, whole.lse)
        ctx.how = how
        return whole.out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, keys, values, out, lse = ctx.saved_tensors
        how: Gathering = ctx.how
        if how.regathers:
            keys, values = how.in_order(keys), how.in_order(values)
        grad_q, grad_k, grad_v = (torch.zeros_like(x) for x in (q, keys, values))
        chunks = how.chunks(how.group.rank())
        for seen in of_sequence(chunks, q.shape[TOKENS] // len(chunks)):
            parts = block_backward(
                gradient[:, :, seen.queries],
                q[:, :, seen.queries],
                keys[:, :, seen.keys],
                values[:, :, seen.keys],
                Attended(out[:, :, seen.queries], lse[:, :, seen.queries]),
                causal=seen.causal,
                fused=how.fused,
            )
            grad_q[:, :, seen.queries] += parts[0]
            grad_k[:, :, seen.keys] += parts[1]
            grad_v[:, :, seen.keys] += parts[2]
        return grad_q, how.back(grad_k), how.back(grad_v), None


def gathered_attention(q: Tensor, k: Tensor, v: Tensor, how: Gathering) -> Tensor:
    """Causal attention over the sequence of all ranks of a group; q, k, v: this rank's part, (batch, heads, tokens, width)."""
    function: Any = _GatheredAttention
    result: Tensor = function.apply(q, k, v, how)
    return result
