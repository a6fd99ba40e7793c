"""Collectives on plain tensors along any dimension, and their differentiable forms.

Named after what happens in forward; backward does the dual: gather <-> reduce-scatter, copy <-> all-reduce.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup


def gather(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """The parts of all ranks joined along ``dim``."""
    parts = x.new_empty((group.size(), *x.shape))
    dist.all_gather_single(parts.flatten(0, 1), x.contiguous(), group=group)
    return _joined(parts, dim)


def reduce_scatter(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """This rank's part along ``dim`` of the sum over ranks."""
    parts = _parted(x, group.size(), dim)
    result = parts.new_empty(parts.shape[1:])
    dist.reduce_scatter_single(result, parts.flatten(0, 1), group=group)
    return result


def all_reduce(x: Tensor, group: ProcessGroup, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    """The sum (or another reduction) over ranks, in a tensor of its own."""
    result = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(result, operation, group=group)
    return result


def all_to_all(x: Tensor, group: ProcessGroup, split: int, join: int) -> Tensor:
    """Cut along ``split``, one part for each rank; what arrives is joined along ``join``."""
    parts = _parted(x, group.size(), split)
    arrived = torch.empty_like(parts)
    dist.all_to_all_single(arrived, parts, group=group)
    return _joined(arrived, join)


def _parted(x: Tensor, count: int, dim: int) -> Tensor:
    """(count, *shape of one part), contiguous: equal parts along ``dim``."""
    shape = (*x.shape[:dim], count, x.shape[dim] // count, *x.shape[dim + 1 :])
    return x.reshape(shape).movedim(dim, 0).contiguous()


def _joined(parts: Tensor, dim: int) -> Tensor:
    """Parts (count, ...) joined along ``dim`` of one part."""
    return parts.movedim(0, dim).flatten(dim, dim + 1)


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return gather(x, group, dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return reduce_scatter(gradient, ctx.group, ctx.dim), None, None


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return reduce_scatter(x, group, dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gather(gradient, ctx.group, ctx.dim), None, None


class _Copy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return all_reduce(gradient, ctx.group), None


class _Reduce(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        return all_reduce(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Collect(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
        ctx.group, ctx.dim = group, dim
        return gather(x, group, dim)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.chunk(ctx.group.size(), ctx.dim)[ctx.group.rank()].contiguous(), None, None


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, split: int, join: int) -> Tensor:
        ctx.group, ctx.split, ctx.join = group, split, join
        return all_to_all(x, group, split, join)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return all_to_all(gradient, ctx.group, ctx.join, ctx.split), None, None, None


def gathered(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """Parts joined along ``dim``; gradients are summed over ranks and scattered."""
    return _applied(_Gather, x, group, dim)


def scattered_sum(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """The rank's part of the sum along ``dim``; gradients are gathered."""
    return _applied(_ReduceScatter, x, group, dim)


def copied(x: Tensor, group: ProcessGroup) -> Tensor:
    """The same values; gradients are summed over ranks (Megatron-LM's f)."""
    return _applied(_Copy, x, group)


def summed(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum over ranks; the gradient passes as it is (Megatron-LM's g)."""
    return _applied(_Reduce, x, group)


def collected(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """Parts joined along ``dim`` for a computation that every rank repeats: the gradient's own part is taken."""
    return _applied(_Collect, x, group, dim)


def exchanged(x: Tensor, group: ProcessGroup, split: int, join: int) -> Tensor:
    """``all_to_all``; gradients go the way back."""
    return _applied(_AllToAll, x, group, split, join)


def _applied(function: Any, *arguments: Any) -> Tensor:
    result: Tensor = function.apply(*arguments)
    return result
