"""ZeRO 2 with whole weights: each unit's gradients are scattered in every backward pass, updated weights gathered once.

As DeepSpeed does it (arXiv 1910.02054, section 5.2; deepspeed/runtime/zero/stage_1_and_2.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

from planner.validation.trainer.cuts import Owned, owned_parameters
from planner.validation.trainer.data.flat import PARTS, Bucket, FlatReplicas
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.settings import Settings


class ScatteredReplicas(FlatReplicas):
    """Stages whose whole gradients live from a unit's first to its last in a backward pass; see ``FlatReplicas``."""

    scatters = True

    def __init__(self, stages: Mapping[int, nn.Module], settings: Settings, groups: Groups) -> None:
        super().__init__(stages, settings, groups)
        self._kept: dict[int, Tensor] = {}
        self._missing: dict[int, int] = {}

    def materialise(self, device: str) -> None:
        """See ``Replicas``."""
        super().materialise(device)
        for bucket in self.buckets:
            self._kept[id(bucket)] = torch.zeros_like(bucket.own(bucket.gradients))
            self._missing[id(bucket)] = len(bucket.members)
            bucket.free()

    def _add(self, bucket: Bucket, weight: Tensor) -> None:
        if weight.grad is None:
            return
        super()._add(bucket, weight)
        self._missing[id(bucket)] -= 1
        if not self._missing[id(bucket)]:
            self._scatter(bucket)

    def _scatter(self, bucket: Bucket) -> None:
        """This micro-batch's sum over the shard group onto what is kept of the others'."""
        group = self._groups.group(PARTS[bucket.axis][0])
        if bucket.shards == 1 or group is None:
            self._kept[id(bucket)] += bucket.gradients
        else:
            own = torch.empty_like(self._kept[id(bucket)])
            dist.reduce_scatter_tensor(own, bucket.gradients, group=group)
            self._kept[id(bucket)] += own
        bucket.free()
        self._missing[id(bucket)] = len(bucket.members)

    def _reduce(self, bucket: Bucket) -> None:
        """What some parameter's missing gradient held back, and the other replicas' shards."""
        if self._missing[id(bucket)] < len(bucket.members):
            self._scatter(bucket)
        bucket.free()
        rest = PARTS[bucket.axis][1]
        if self._groups.size(rest) > 1:
            dist.all_reduce(self._kept[id(bucket)], group=self._groups.group(rest))

    def weight_gradients(self) -> list[Tensor]:
        """See ``Replicas``."""
        return [self._kept[id(bucket)] for bucket in self.buckets]

    def zero_gradients(self) -> None:
        """See ``Replicas``."""
        for kept in self._kept.values():
            kept.zero_()

    def gradients(self) -> Iterator[tuple[Owned, Tensor]]:
        """See ``Replicas``."""
        for bucket in self.buckets:
            bucket.wake()
            bucket.own(bucket.gradients).copy_(self._kept[id(bucket)])
        yield from super().gradients()
        for bucket in self.buckets:
            bucket.free()


def can_scatter(stages: Mapping[int, nn.Module], settings: Settings, groups: Groups) -> bool:
    """Whether every gradient is whole before it is scattered: no sums over tp, no copies of a table on two stages."""
    partial = any(
        owned.partial is not None and groups.size(owned.partial) > 1
        for stage in stages.values()
        for owned in owned_parameters(stage)
    )
    return not partial and (settings.layout.pp == 1 or not settings.model.tied_embeddings)
