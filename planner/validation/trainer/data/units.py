"""ZeRO 2, ZeRO 3, HSDP and PyTorch's replication: units of a stage under fully_shard or replicate (PyTorch's FSDP2).

Units are those of torchtitan (torchtitan/models/llama3/infra/parallelize.py): the embedding, each layer, the head with
its norm; routed experts are units of their own, over their own ranks. Losses are parts of one mean, so gradients are
summed, not averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard

from planner.validation.trainer.cuts import Owned, owned_parameters
from planner.validation.trainer.data.holders import holders_of
from planner.validation.trainer.data.partial import local, placed_like, sum_partial
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.phases import phase
from planner.validation.trainer.settings import Settings


class UnitReplicas:
    """Stages whose gradients are those of their parameters, sharded or not.

    Args:
        stages: virtual stage -> its module (``embedding``, ``layers``, ``head``, each may be missing).
        settings, groups: of the run; ``layout.shard`` decides what is sharded, and whether weights are let go after
            forward.
    """

    def __init__(self, stages: Mapping[int, nn.Module], settings: Settings, groups: Groups) -> None:
        self._stages, self._groups = dict(stages), groups
        self._sharded = settings.layout.shard.gradients > 1
        for stage in self._stages.values():
            _wrap(stage, settings, groups)

    def materialise(self, device: str) -> None:
        """See ``Replicas``."""
        for stage in self._stages.values():
            holders = holders_of(stage)
            stage.to_empty(device=device)
            for (first, name), *others in holders.values():
                for other, alias in others:
                    setattr(other, alias, getattr(first, name))

    def last_backward(self, stage: int, last: bool) -> None:
        """Whole gradients wait for the last pass; sharded ones are reduced in each, as fully_shard does by default."""
        module = self._stages[stage]
        if isinstance(module, FSDPModule) and not self._sharded:
            module.set_requires_gradient_sync(last)

    def collect(self, stage: int) -> None:
        """Nothing: gradients stay at the parameters."""

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        """See ``Replicas``."""
        assert parameter.grad is not None
        return local(parameter.grad)

    def finish(self) -> None:
        """See ``Replicas``."""
        with phase("optimizer"):
            for owned, gradient in self._found():
                owned.parameter.grad = placed_like(gradient, owned.parameter)
                sum_partial(owned, owned.parameter.grad, self._groups)

    def weights(self) -> list[Tensor]:
        """See ``Replicas``."""
        return [local(owned.parameter.detach()) for owned in self._owned()]

    def weight_gradients(self) -> list[Tensor]:
        """See ``Replicas``; a parameter that no loss has reached has a gradient of zeros."""
        parameters = [owned.parameter for owned in self._owned()]
        return [
            torch.zeros_like(local(parameter)) if parameter.grad is None else local(parameter.grad)
            for parameter in parameters
        ]

    def publish(self) -> None:
        """Nothing: weights are gathered where they are used."""

    def zero_gradients(self) -> None:
        """Gradients are let go."""
        for stage in self._stages.values():
            stage.zero_grad(set_to_none=True)

    def gradients(self) -> Iterator[tuple[Owned, Tensor]]:
        """See ``Replicas``."""
        yield from self._found()

    def _owned(self) -> Iterator[Owned]:
        for stage in self._stages.values():
            yield from owned_parameters(stage)

    def _found(self) -> Iterator[tuple[Owned, Tensor]]:
        for owned in self._owned():
            if owned.parameter.grad is not None:
                yield owned, owned.parameter.grad


def _wrap(stage: nn.Module, settings: Settings, groups: Groups) -> None:
    """Units from the inside out, then the stage itself."""
    experts = [module for module in stage.modules() if getattr(module, "replicas", None) == "edp"]
    if groups.size("dp_cp") == 1 and (groups.size("edp") == 1 or not experts):
        _compute_in(stage, settings)
        return
    policy = _policy(settings)
    for module in experts:
        mesh = _mesh(settings, groups, "expert_replicate", "expert_shard") or _alone(settings, groups)
        _unit(module, settings, mesh=mesh, mp_policy=policy)
    dense = _mesh(settings, groups, "replicate", "shard")
    if dense is None:
        _compute_in(stage, settings)
    else:
        keeps = settings.framework.shard_runtime != "zero"
        for unit, last in _units(stage):
            _unit(unit, settings, last=last and keeps, mesh=dense, mp_policy=policy)
    for module in stage.modules():
        if isinstance(module, FSDPModule):
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)


def _units(stage: nn.Module) -> Iterator[tuple[Any, bool]]:
    """Modules that are gathered together, and whether backward begins with them (their weights are kept until then)."""
    layers, embedding, head = (getattr(stage, name, None) for name in ("layers", "embedding", "head"))
    yield from ((layer, False) for layer in (layers.values() if layers is not None else ()))
    if embedding is not None and head is not None and head.output.weight is embedding.tokens.weight:
        yield [embedding, head], True
    else:
        yield from ((end, end is head) for end in (embedding, head) if end is not None)
    yield stage, False


def _unit(module: Any, settings: Settings, *, last: bool = False, mesh: DeviceMesh, **options: Any) -> None:
    shard = settings.layout.shard
    if shard.gradients == 1:
        from torch.distributed._composable.replicate_with_fsdp import replicate

        replicate(module, mesh=mesh, **options)
        return
    ranks = mesh.size(mesh.ndim - 1)
    fully_shard(
        module,
        mesh=mesh,
        reshard_after_forward=shard.parameters > 1 and not last,
        shard_placement_fn=partial(_cut_dimension, ranks=ranks),
        **options,
    )


def _cut_dimension(parameter: nn.Parameter, ranks: int) -> Shard | None:
    """Stacked experts fewer than the ranks are cut along another dimension, instead of padding to one expert per rank."""
    if parameter.dim() < 3 or parameter.shape[0] >= ranks:
        return None
    even = (dim for dim in range(1, parameter.dim()) if parameter.shape[dim] % ranks == 0)
    return next((Shard(dim) for dim in even), None)


def _mesh(settings: Settings, groups: Groups, replicas: str, shards: str) -> DeviceMesh | None:
    """The ranks of the axes larger than one; None when there is no such axis."""
    kept = [axis for axis in (replicas, shards) if groups.size(axis) > 1]
    if kept == [replicas] and settings.layout.shard.gradients > 1:
        raise AssertionError("a shard group of one rank with sharded gradients")
    return groups.mesh(*kept) if kept else None


def _alone(settings: Settings, groups: Groups) -> DeviceMesh:
    """A mesh of this rank, over which nothing is sent: its experts have no replicas but the same dtypes."""
    group = dist.new_group([groups.rank], use_local_synchronization=True, group_desc="alone")
    return DeviceMesh.from_group(group, settings.device, mesh_dim_names=("alone",))


def _policy(settings: Settings) -> MixedPrecisionPolicy:
    """Weights are gathered in the dtype of matmuls, gradients travel as the profile's state law says."""
    if settings.double or settings.compute_dtype == "float32":
        return MixedPrecisionPolicy()
    compute = getattr(torch, settings.compute_dtype)
    reduced = torch.float32 if settings.law.reduced >= 4.0 else compute
    return MixedPrecisionPolicy(param_dtype=compute, reduce_dtype=reduced)


def _compute_in(stage: nn.Module, settings: Settings) -> None:
    """Matmuls of unwrapped fp32 weights in the settings' dtype: PyTorch's autocast, as torchtitan does without FSDP.

    The stream gets that dtype too, where it begins, as it has between units of FSDP.
    """
    if settings.compute_dtype == settings.parameter_dtype:
        return
    dtype = getattr(torch, settings.compute_dtype)
    forward = torch.autocast(settings.device, dtype)(stage.forward)
    setattr(stage, "forward", forward)  # noqa: B010
    embedding = getattr(stage, "embedding", None)
    if embedding is not None:
        embedding.register_forward_hook(lambda module, inputs, stream: stream.to(dtype))
