"""The attention of one block of queries and keys: PyTorch's fused kernels, or two products and a softmax.

Tensors are (batch, heads, tokens, width); keys and values may have fewer heads, each serving a group of query heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, fused: bool = True) -> Tensor:
    """softmax(q k^T / sqrt(width)) v, differentiable.

    Args:
        causal: query i sees keys up to i.
        fused: one kernel; else scores are written out.
    """
    if not fused:
        return _unfused(q, k, v, causal)
    width, scale = v.shape[-1], 1.0 / math.sqrt(q.shape[-1])
    q, k, v = _equal_widths(q, k, v)
    if isinstance(q, FakeTensor) or (q.is_cuda and q.element_size() == 2):
        # named outright: under fake tensors the usual entry picks an operator whose FLOPs nobody counts
        result = torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, scale=scale)[0]
    elif q.is_cuda:
        result = functional.scaled_dot_product_attention(
            q, k, v, is_causal=causal, scale=scale, enable_gqa=True
        )
    else:
        result = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, scale=scale
        )[0]
    whole: Tensor = result
    return whole if whole.shape[-1] == width else whole[..., :width]


def _equal_widths(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zero columns up to the widest, which change neither scores nor the columns that are kept."""
    widest = max(q.shape[-1], v.shape[-1])
    q, k, v = (
        x if x.shape[-1] == widest else functional.pad(x, (0, widest - x.shape[-1])) for x in (q, k, v)
    )
    return q, k, v


def _unfused(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, -torch.inf)
    return scores.softmax(-1) @ v
