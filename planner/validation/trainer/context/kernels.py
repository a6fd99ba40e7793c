"""The attention of one block of queries and keys: PyTorch's fused kernels, or two products and a softmax.

Tensors are (batch, heads, tokens, width); keys and values may have fewer heads, each serving a group of query heads.
Results come with their log-sum-exp (batch, heads, tokens), by which blocks of keys are merged (FlashAttention,
arXiv 2205.14135, section 3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional


@dataclass(frozen=True)
class Attended:
    """Result of a block of queries, and the log of the sum over keys of exp(score)."""

    out: Tensor
    lse: Tensor


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, fused: bool = True, one_width: bool = True
) -> Tensor:
    """softmax(q k^T / sqrt(width)) v, differentiable.

    Args:
        causal: query i sees keys up to i.
        fused: one kernel; else scores are written out.
        one_width: of a device's kernels FlashAttention's, which pads narrower values (MLA's) to the queries' width; else
            one that takes both widths.
    """
    if not fused:
        return _unfused(q, k, v, causal)[0]
    width, scale = v.shape[-1], 1.0 / math.sqrt(q.shape[-1])
    if not one_width and width < q.shape[-1] and _cuda_flash(q):
        return _two_widths(q, k, v, causal, scale)
    q, k, v = _equal_widths(q, k, v)
    if _cuda_flash(q):
        # named outright: under fake tensors the usual entry picks an operator whose FLOPs nobody counts
        result = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, scale=scale)[0]
    elif q.is_cuda:
        result = functional.scaled_dot_product_attention(
            q, k, v, is_causal=causal, scale=scale, enable_gqa=True
        )
    else:
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        result = flash(q, k, v, 0.0, causal, scale=scale)[0]
    whole: Tensor = result
    return whole if whole.shape[-1] == width else whole[..., :width]


def _two_widths(q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float) -> Tensor:
    """The memory-efficient kernel, for as many key as query heads (MLA rebuilds one for each)."""
    kernel = torch.ops.aten._scaled_dot_product_efficient_attention
    result: Tensor = kernel(q, k, v, None, True, 0.0, causal, scale=scale)[0]
    return result


@torch.no_grad()
def block_forward(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, fused: bool) -> Attended:
    """Attention of some queries to some keys, outside autograd."""
    if not fused or (q.is_cuda and not _cuda_flash(q)):
        return Attended(*_unfused(q, k, v, causal))
    width, scale = v.shape[-1], 1.0 / math.sqrt(q.shape[-1])
    q, k, v = _equal_widths(q, k, v)
    aten = torch.ops.aten
    kernel = (
        aten._scaled_dot_product_flash_attention
        if _cuda_flash(q)
        else aten._scaled_dot_product_flash_attention_for_cpu
    )
    out, lse = kernel(q, k, v, 0.0, causal, scale=scale)[:2]
    return Attended(out[..., :width], lse)


@torch.no_grad()
def block_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, whole: Attended, *, causal: bool, fused: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k, v from one block.

    Args:
        gradient: of the output of these queries.
        whole: their output and log-sum-exp over all keys, not over this block's alone.
    """
    if not fused or (q.is_cuda and not _cuda_flash(q)):
        return _unfused_backward(gradient, q, k, v, whole, causal)
    widths, scale = (q.shape[-1], v.shape[-1]), 1.0 / math.sqrt(q.shape[-1])
    q, k, v = _equal_widths(q, k, v)
    gradient, out = (_widened(x, q.shape[-1]).contiguous() for x in (gradient, whole.out))
    lse = whole.lse.contiguous()
    aten = torch.ops.aten
    if _cuda_flash(q):
        fixed: tuple[Any, ...] = (None, None, q.shape[2], k.shape[2], 0.0, causal)
        random = torch.zeros(2, dtype=torch.uint64, device=q.device), torch.zeros(0, device=q.device)
        kernel = aten._scaled_dot_product_flash_attention_backward
        results = kernel(gradient, q, k, v, out, lse, *fixed, *random, scale=scale)
    else:
        kernel = aten._scaled_dot_product_flash_attention_for_cpu_backward
        results = kernel(gradient, q, k, v, out, lse, 0.0, causal, scale=scale)
    grad_q, grad_k, grad_v = results
    return grad_q[..., : widths[0]], grad_k[..., : widths[0]], grad_v[..., : widths[1]]


def _cuda_flash(q: Tensor) -> bool:
    """Whether the kernel for CUDA devices runs: on them in 16 bits, and in every trace on fake tensors."""
    return isinstance(q, FakeTensor) or (q.is_cuda and q.element_size() == 2)


def _equal_widths(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zero columns up to the widest, which change neither scores nor the columns that are kept."""
    widest = max(q.shape[-1], v.shape[-1])
    return _widened(q, widest), _widened(k, widest), _widened(v, widest)


def _widened(x: Tensor, width: int) -> Tensor:
    return x if x.shape[-1] == width else functional.pad(x, (0, width - x.shape[-1]))


def _scores(q: Tensor, k: Tensor, causal: bool) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if not causal:
        return scores
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(later, -torch.inf)


def _spread(x: Tensor, heads: int) -> Tensor:
    """Each key/value head once for every query head that it serves."""
    return x if x.shape[1] == heads else x.repeat_interleave(heads // x.shape[1], 1)


def _unfused(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    scores = _scores(q, _spread(k, q.shape[1]), causal)
    return scores.softmax(-1) @ _spread(v, q.shape[1]), scores.detach().logsumexp(-1)


def _unfused_backward(
    gradient: Tensor, q: Tensor, k: Tensor, v: Tensor, whole: Attended, causal: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """With P = exp(S - lse): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)) (FlashAttention, arXiv 2205.14135, appendix B)."""
    heads, shared = q.shape[1], (k.shape[0], k.shape[1], -1)
    wide_k, wide_v = _spread(k, heads), _spread(v, heads)
    weights = (_scores(q, wide_k, causal) - whole.lse[..., None]).exp().to(q.dtype)
    grad_v = weights.transpose(-1, -2) @ gradient
    slope = gradient @ wide_v.transpose(-1, -2) - (gradient * whole.out).sum(-1, keepdim=True)
    slope = weights * slope / math.sqrt(q.shape[-1])
    grad_k = slope.transpose(-1, -2) @ q
    grad_k, grad_v = (x.view(*shared, *x.shape[2:]).sum(2) for x in (grad_k, grad_v))
    return slope @ wide_k, grad_k, grad_v
