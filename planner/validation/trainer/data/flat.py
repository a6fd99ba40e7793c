"""ZeRO 0 and 1 over flat buckets: gradients summed over replicas or reduce-scattered, updated weights gathered.

As Megatron-LM's DistributedDataParallel and distributed optimizer lay them out: parameters and gradients of a bucket are
views of one buffer each, and a rank updates its slice of the bucket (Megatron-LM, docs/source/api-guide/dist_optimizer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor, nn

from planner.errors import PlannerError
from planner.validation.trainer.cuts import Owned, owned_parameters
from planner.validation.trainer.data.cached import CachedGradients
from planner.validation.trainer.data.holders import Holder, holders_of
from planner.validation.trainer.data.packing import buckets
from planner.validation.trainer.data.partial import sum_partial
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings

PARTS = {"dp_cp": ("shard", "replicate"), "edp": ("expert_shard", "expert_replicate")}
"""Data-parallel axis -> groups that share a bucket, and that hold the same share."""


@dataclass(frozen=True)
class Bucket:
    """Flat weights and gradients of some parameters; ``values`` and ``gradients`` are padded to the shard group.

    ``members``: each parameter, a view of ``values``, and its view of ``gradients``.
    """

    axis: str
    values: Tensor
    gradients: Tensor
    shards: int
    index: int
    members: tuple[tuple[nn.Parameter, Tensor], ...]

    def wake(self) -> None:
        """Storage for the gradients, all zero, when there is none."""
        storage, size = (
            self.gradients.untyped_storage(),
            self.gradients.numel() * self.gradients.element_size(),
        )
        if storage.nbytes() < size:
            storage.resize_(size)
            self.gradients.zero_()

    def free(self) -> None:
        """Let the gradients go."""
        self.gradients.untyped_storage().resize_(0)

    def own(self, whole: Tensor) -> Tensor:
        """The slice that this rank updates."""
        return whole.chunk(self.shards)[self.index]


class FlatReplicas:
    """Stages whose gradients are summed over replicas in flat buckets.

    Args:
        stages: virtual stage -> its module; ``materialise`` makes its parameters views of the buckets.
        settings, groups: of the run; the optimizer's shard group decides between all-reduce and reduce-scatter.

    Raises:
        PlannerError: the layout shards gradients or weights too (ZeRO 2 and 3).
    """

    scatters = False
    """Whether gradients are sharded."""

    def __init__(self, stages: Mapping[int, nn.Module], settings: Settings, groups: Groups) -> None:
        shard = settings.layout.shard
        if shard.parameters > 1 or (shard.gradients > 1 and not self.scatters):
            raise PlannerError(
                "flat buckets keep whole weights and gradients on every rank: ZeRO stage 0 or 1",
                field="layout.shard",
            )
        self._stages, self._settings, self._groups = dict(stages), settings, groups
        self._buckets: dict[int, list[Bucket]] = {}
        self._gradients: dict[int, Tensor] = {}
        self._staged: list[Tensor] = []
        caches = settings.framework.buffers.gradient_scratch == "distinct_shapes"
        self._cached = CachedGradients() if caches else None

    @property
    def buckets(self) -> list[Bucket]:
        """Of all stages, each stage's in the order in which backward fills them."""
        return [bucket for buckets in self._buckets.values() for bucket in buckets]

    def materialise(self, device: str) -> None:
        """Flat storage; parameters that already have values keep them."""
        settings = self._settings
        dtype = torch.float64 if settings.double else _gradient_dtype(settings)
        for index, stage in self._stages.items():
            holders = holders_of(stage)
            parameters = sorted(owned_parameters(stage), key=_axis)
            self._buckets[index] = [
                self._bucket(axis, chosen, dtype, device, holders)
                for axis, members in groupby(parameters, key=_axis)
                for chosen in buckets(members, settings, by_unit=self.scatters)
            ]
        self._gradients = {
            id(weight): gradient for bucket in self.buckets for weight, gradient in bucket.members
        }
        for bucket in self.buckets:
            for weight, _ in bucket.members:
                self._listen(bucket, weight)

    def _bucket(
        self,
        axis: str,
        chosen: Sequence[Owned],
        dtype: torch.dtype,
        device: str,
        holders: Mapping[int, list[Holder]],
    ) -> Bucket:
        name = PARTS[axis][0]
        sharded = self._settings.layout.shard.optimizer > 1
        shards = self._groups.size(name) if sharded else 1
        size = -(-sum(owned.parameter.numel() for owned in chosen) // shards) * shards
        values = torch.zeros(size, dtype=chosen[0].parameter.dtype, device=device)
        gradients = torch.zeros(size, dtype=dtype, device=device)
        members, start = [], 0
        for owned in chosen:
            shape, part = owned.parameter.shape, slice(start, start + owned.parameter.numel())
            if not owned.parameter.is_meta:
                values[part].copy_(owned.parameter.detach().reshape(-1))
            weight = nn.Parameter(values[part].view(shape))
            for holder, local in holders[id(owned.parameter)]:
                setattr(holder, local, weight)
            members.append((weight, gradients[part].view(shape)))
            if self._cached is not None:
                self._cached.watch(owned, weight)
            start = part.stop
        index = self._groups.index(name) if sharded else 0
        return Bucket(axis, values, gradients, shards, index, tuple(members))

    def _listen(self, bucket: Bucket, weight: nn.Parameter) -> None:
        """Add what backward makes to the bucket at once, so that no gradient of the parameter's own stays alive."""
        weight.register_post_accumulate_grad_hook(lambda done: self._add(bucket, done))  # type: ignore[no-untyped-call]

    def _add(self, bucket: Bucket, weight: Tensor) -> None:
        if weight.grad is not None:
            self._stage()
            bucket.wake()
            self._gradients[id(weight)].add_(weight.grad)
            weight.grad = None

    def _stage(self) -> None:
        """Two buffers that buckets are copied into before they travel, from a step's first backward pass to its last reduction
        (``ipg_buffer`` of deepspeed/runtime/zero/stage_1_and_2.py).
        """
        settings = self._settings
        copies = settings.framework.buffers.gradient_scratch == "buckets"
        if self._staged or not copies or all(self._groups.size(bucket.axis) == 1 for bucket in self.buckets):
            return
        elements = sum(bucket.values.numel() for bucket in self.buckets)
        size = int(min(settings.bucket_bytes, settings.law.reduced * elements))
        device = self.buckets[0].values.device
        self._staged = [torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2)]

    def last_backward(self, stage: int, last: bool) -> None:
        """Buckets wait for ``finish``; buffers for their copies are made before backward begins."""
        self._stage()

    def collect(self, stage: int) -> None:
        """See ``Replicas``."""
        for bucket in self._buckets[stage]:
            for weight, _ in bucket.members:
                self._add(bucket, weight)

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        """See ``Replicas``."""
        return self._gradients[id(parameter)]

    def finish(self) -> None:
        """See ``Replicas``; what sequence shards left partial comes last, as in Megatron-LM's ``finalize_model_grads``."""
        with phase("backward"):
            for bucket in self.buckets:
                bucket.wake()
                self._reduce(bucket)
        self._staged = []
        with phase("optimizer"):
            for owned in self._owned():
                sum_partial(owned, self.gradient(owned.parameter), self._groups)

    def _reduce(self, bucket: Bucket) -> None:
        shard, rest = PARTS[bucket.axis]
        if bucket.shards == 1 or self._settings.law.sums_whole:
            if self._groups.size(bucket.axis) > 1:
                self._sum_whole(bucket)
            return
        own = torch.empty_like(bucket.own(bucket.gradients))
        dist.reduce_scatter_tensor(own, bucket.gradients, group=self._groups.group(shard))
        if self._groups.size(rest) > 1:
            dist.all_reduce(own, group=self._groups.group(rest))
        bucket.own(bucket.gradients).copy_(own)

    def _sum_whole(self, bucket: Bucket) -> None:
        """On every rank, in the dtype in which gradients travel."""
        wide = self._settings.law.reduced >= 4.0 and bucket.gradients.element_size() < 4
        travelling = bucket.gradients.float() if wide else bucket.gradients
        dist.all_reduce(travelling, group=self._groups.group(bucket.axis))
        if wide:
            bucket.gradients.copy_(travelling)

    def weights(self) -> list[Tensor]:
        """This rank's slices."""
        return [bucket.own(bucket.values) for bucket in self.buckets]

    def weight_gradients(self) -> list[Tensor]:
        """Of this rank's slices."""
        return [bucket.own(bucket.gradients) for bucket in self.buckets]

    def publish(self) -> None:
        """Give the updated slices to all ranks that hold the weights."""
        for bucket in self.buckets:
            self._gather(bucket, bucket.values)

    def zero_gradients(self) -> None:
        """Ready for the next step; where the profile says so, without storage until the first backward pass."""
        for bucket in self.buckets:
            if self._settings.framework.buffers.gradients_freed:
                bucket.free()
            else:
                bucket.gradients.zero_()

    def gradients(self) -> Iterator[tuple[Owned, Tensor]]:
        """See ``Replicas``; slices of other ranks are fetched."""
        for bucket in self.buckets:
            self._gather(bucket, bucket.gradients)
        for owned in self._owned():
            yield owned, self.gradient(owned.parameter)

    def _owned(self) -> Iterator[Owned]:
        for stage in self._stages.values():
            yield from owned_parameters(stage)

    def _gather(self, bucket: Bucket, whole: Tensor) -> None:
        if bucket.shards > 1:
            group = self._groups.group(PARTS[bucket.axis][0])
            dist.all_gather_into_tensor(whole, bucket.own(whole).clone(), group=group)


def _gradient_dtype(settings: Settings) -> torch.dtype:
    whole = settings.law.gradients >= 4.0
    dtype: torch.dtype = torch.float32 if whole else getattr(torch, settings.compute_dtype)
    return dtype


def _axis(owned: Owned) -> str:
    return owned.replicas
