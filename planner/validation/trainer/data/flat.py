"""ZeRO 0 and 1 over flat buckets: gradients summed over all replicas or reduce-scattered, weights gathered after the update.

As Megatron-LM's DistributedDataParallel and distributed optimizer lay them out: parameters and gradients of a bucket are
views of one buffer each, and a rank updates its slice of the bucket (Megatron-LM, docs/source/api-guide/dist_optimizer).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.distributed as dist
from torch import Tensor, nn

from planner.errors import PlannerError
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings

DENSE, EXPERT = "dp_cp", "edp"
_PARTS = {DENSE: ("shard", "replicate"), EXPERT: ("expert_shard", "expert_replicate")}


@dataclass(frozen=True)
class Bucket:
    """Flat weights and gradients of some parameters; ``values`` and ``gradients`` are padded to the shard group."""

    axis: str
    values: Tensor
    gradients: Tensor
    shards: int
    index: int

    def own(self, whole: Tensor) -> Tensor:
        """The slice that this rank updates."""
        return whole.chunk(self.shards)[self.index]


class FlatReplicas:
    """Stages whose gradients are summed over replicas in flat buckets.

    Args:
        stages: modules on a real device with their initial weights; their parameters become views of the buckets.
        settings, groups: of the run; the optimizer's shard group decides between all-reduce and reduce-scatter.

    Raises:
        PlannerError: the layout shards gradients or weights too (ZeRO 2 and 3).
    """

    def __init__(self, stages: Sequence[nn.Module], settings: Settings, groups: Groups) -> None:
        shard = settings.layout.shard
        if shard.parameters > 1 or shard.gradients > 1:
            raise PlannerError(
                "flat buckets keep whole weights and gradients on every rank: ZeRO stage 0 or 1",
                field="layout.shard",
            )
        self._groups = groups
        self._partial = [
            (parameter, axis)
            for stage in stages
            for parameter in stage.parameters()
            if (axis := getattr(parameter, "sums", None)) is not None and groups.size(axis) > 1
        ]
        self._sharded = settings.layout.shard.optimizer > 1
        dtype = torch.float64 if settings.double else _gradient_dtype(settings)
        limit = settings.bucket_bytes or float("inf")
        self.buckets = [
            self._bucket(axis, list(chosen), dtype)
            for stage in stages
            for axis, members in groupby(sorted(_unique(stage), key=_axis), key=_axis)
            for chosen in _split(list(members), limit, dtype.itemsize)
        ]

    def _bucket(self, axis: str, parameters: list[nn.Parameter], dtype: torch.dtype) -> Bucket:
        name = _PARTS[axis][0]
        shards = self._groups.size(name) if self._sharded else 1
        count = sum(parameter.numel() for parameter in parameters)
        size = -(-count // shards) * shards
        values = torch.zeros(size, dtype=parameters[0].dtype, device=parameters[0].device)
        gradients = torch.zeros(size, dtype=dtype, device=values.device)
        start = 0
        for parameter in parameters:
            part = slice(start, start + parameter.numel())
            values[part].copy_(parameter.detach().reshape(-1))
            parameter.data = values[part].view_as(parameter)
            _accumulate_into(parameter, gradients[part].view_as(parameter))
            start = part.stop
        return Bucket(axis, values, gradients, shards, self._groups.index(name) if self._sharded else 0)

    def finish(self) -> None:
        """Sum the gradients over the replicas once all micro-batches have been through backward."""
        with phase("backward"):
            for bucket in self.buckets:
                self._reduce(bucket)
        with phase(
            "optimizer"
        ):  # what sequence shards left partial, summed last as Megatron-LM's finalize_model_grads does
            for parameter, axis in self._partial:
                dist.all_reduce(parameter.main_grad, group=self._groups.group(axis))  # type: ignore[attr-defined]

    def _reduce(self, bucket: Bucket) -> None:
        shard, rest = _PARTS[bucket.axis]
        if bucket.shards == 1:
            if self._groups.size(bucket.axis) > 1:
                dist.all_reduce(bucket.gradients, group=self._groups.group(bucket.axis))
            return
        own = torch.empty_like(bucket.own(bucket.gradients))
        dist.reduce_scatter_tensor(own, bucket.gradients, group=self._groups.group(shard))
        if self._groups.size(rest) > 1:
            dist.all_reduce(own, group=self._groups.group(rest))
        bucket.own(bucket.gradients).copy_(own)

    def updated(self) -> Iterator[tuple[Tensor, Tensor]]:
        """(weights, gradient) of every slice that this rank's optimizer updates."""
        for bucket in self.buckets:
            yield bucket.own(bucket.values), bucket.own(bucket.gradients)

    def publish(self) -> None:
        """Give the updated slices to all ranks that hold the weights."""
        for bucket in self.buckets:
            if bucket.shards > 1:
                group = self._groups.group(_PARTS[bucket.axis][0])
                dist.all_gather_into_tensor(bucket.values, bucket.own(bucket.values).clone(), group=group)

    def zero_gradients(self) -> None:
        """Ready for the next step."""
        for bucket in self.buckets:
            bucket.gradients.zero_()


def _gradient_dtype(settings: Settings) -> torch.dtype:
    whole = settings.law.gradients >= 4.0
    return torch.float32 if whole else getattr(torch, settings.compute_dtype)


def _axis(parameter: nn.Parameter) -> str:
    """The group over which a parameter is replicated: ``dp_cp``, unless it is marked ``edp`` (routed experts)."""
    return getattr(parameter, "replicas", DENSE)


def _unique(stage: nn.Module) -> list[nn.Parameter]:
    """Parameters in the order in which backward reaches them; a tied one once."""
    return list(reversed(list(stage.parameters())))


def _split(parameters: list[nn.Parameter], limit: float, width: int) -> Iterator[list[nn.Parameter]]:
    """Buckets that close when they hold ``limit`` bytes of gradients; parameters are never cut."""
    bucket: list[nn.Parameter] = []
    held = 0
    for parameter in parameters:
        bucket.append(parameter)
        held += parameter.numel() * width
        if held >= limit:
            yield bucket
            bucket, held = [], 0
    if bucket:
        yield bucket


def _accumulate_into(parameter: nn.Parameter, main_grad: Tensor) -> None:
    """Add what backward makes to the bucket at once, so that no gradient of the parameter's own stays alive."""
    parameter.main_grad = main_grad  # type: ignore[attr-defined]

    def add(done: Tensor) -> None:
        assert done.grad is not None
        main_grad.add_(done.grad)
        done.grad = None

    parameter.register_post_accumulate_grad_hook(add)  # type: ignore[no-untyped-call]
