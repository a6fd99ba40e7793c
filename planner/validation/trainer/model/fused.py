"""Kernels that frameworks fuse, written as one node of autograd: backward keeps what the fused kernel keeps, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Nonlinearity = Callable[[Tensor], Tensor]


def fused_rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) * weight over the last dimension, in at least 32 bits inside.

    Keeps the input and one number per row, as the kernels of Transformer Engine and Apex do.
    """
    function: Any = _RmsNorm
    result: Tensor = function.apply(x, weight, epsilon)
    return result


def fused_gate(function: Nonlinearity, gate: Tensor, up: Tensor) -> Tensor:
    """function(gate) x up, which keeps gate and up only (SwiGLU and its kin in one kernel)."""
    node: Any = _Gate
    result: Tensor = node.apply(gate, up, function)
    return result


def wide(x: Tensor) -> Tensor:
    """In at least 32 bits."""
    return x.float() if x.element_size() < 4 else x


class _RmsNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        values = wide(x)
        scale = torch.rsqrt(values.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (values * scale * weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, scale = ctx.saved_tensors
        direction, inner = wide(x) * scale, wide(gradient)
        of_weight = (inner * direction).flatten(0, -2).sum(0).to(weight.dtype)
        inner = inner * weight
        along = (inner * direction).mean(-1, keepdim=True)
        of_x = ((inner - direction * along) * scale).to(x.dtype)
        return of_x, of_weight, None


class _Gate(Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, function: Nonlinearity) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.function = function
        return function(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        with torch.enable_grad():
            leaf = gate.detach().requires_grad_()
            activated = ctx.function(leaf)
        (of_gate,) = torch.autograd.grad(activated, leaf, gradient * up)
        return of_gate, activated.detach().mul_(gradient), None
