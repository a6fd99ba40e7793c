"""Gradients that are still partial sums over tensor-parallel ranks when backward ends."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

from planner.validation.trainer.cuts import Owned
from planner.validation.trainer.groups import Groups


def sum_partial(owned: Owned, gradient: Tensor, groups: Groups) -> None:
    """Sum in place over the axis that the owner names (norms of sequence shards, copies of KV heads)."""
    if owned.partial is not None and groups.size(owned.partial) > 1:
        dist.all_reduce(local(gradient), group=groups.group(owned.partial))


def placed_like(gradient: Tensor, parameter: Tensor) -> Tensor:
    """The gradient of a DTensor laid out as the parameter: partial sums are summed, whole ones cut."""
    if not isinstance(gradient, DTensor) or not isinstance(parameter, DTensor):
        return gradient
    if gradient.placements == parameter.placements:
        return gradient
    return gradient.redistribute(placements=parameter.placements)


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, sharing its storage."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
