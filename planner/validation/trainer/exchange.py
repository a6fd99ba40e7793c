"""Collectives on plain tensors along any dimension, and their differentiable forms.

Named after what happens in forward; backward does the dual: gather <-> reduce-scatter, copy <-> all-reduce.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


Move = Callable[[Tensor], Tensor]


class _Moved(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Move, back: Move) -> Tensor:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(gradient), None, None


def moved(x: Tensor, there: Move, back: Move) -> Tensor:
    """``there(x)``; its gradient goes through ``back``."""
    result: Tensor = _Moved.apply(x, there, back)  # type: ignore[no-untyped-call]
    return result


def gathered(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """Parts joined along ``dim``; gradients are summed over ranks and scattered."""
    return moved(x, partial(gather, group=group, dim=dim), partial(reduce_scatter, group=group, dim=dim))


def scattered_sum(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """The rank's part of the sum along ``dim``; gradients are gathered."""
    return moved(x, partial(reduce_scatter, group=group, dim=dim), partial(gather, group=group, dim=dim))


def copied(x: Tensor, group: ProcessGroup) -> Tensor:
    """The same values; gradients are summed over ranks (Megatron-LM's f)."""
    return moved(x, _same, partial(all_reduce, group=group))


def summed(x: Tensor, group: ProcessGroup) -> Tensor:
    """The sum over ranks; the gradient passes as it is (Megatron-LM's g)."""
    return moved(x, partial(all_reduce, group=group), _same)


def collected(x: Tensor, group: ProcessGroup, dim: int) -> Tensor:
    """Parts joined along ``dim`` for a computation that every rank repeats: the gradient's own part is taken."""

    def own(gradient: Tensor) -> Tensor:
        return gradient.chunk(group.size(), dim)[group.rank()].contiguous()

    return moved(x, partial(gather, group=group, dim=dim), own)


def exchanged(x: Tensor, group: ProcessGroup, split: int, join: int) -> Tensor:
    """``all_to_all``; gradients go the way back."""
    there = partial(all_to_all, group=group, split=split, join=join)
    return moved(x, there, partial(all_to_all, group=group, split=join, join=split))


def _same(x: Tensor) -> Tensor:
    return x.view_as(x)
