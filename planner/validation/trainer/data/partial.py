"""Gradients that are still partial sums over tensor-parallel ranks when backward ends."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate

from planner.validation.trainer.cuts import Owned
from planner.validation.trainer.groups import Groups


def sum_partial(owned: Owned, gradient: Tensor, groups: Groups) -> None:
    """Sum in place over the axis that the owner names (norms of sequence shards, copies of KV heads)."""
    if owned.partial is not None and groups.size(owned.partial) > 1:
        dist.all_reduce(local(gradient), group=groups.group(owned.partial))


def without_partial(gradient: Tensor) -> Tensor:
    """The gradient with every partial placement of a DTensor summed."""
    if not isinstance(gradient, DTensor) or not any(place.is_partial() for place in gradient.placements):
        return gradient
    return gradient.redistribute(
        placements=[Replicate() if place.is_partial() else place for place in gradient.placements]
    )


def local(tensor: Tensor) -> Tensor:
    """This rank's part of a tensor, sharing its storage."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
