"""Data parallelism of a rank's stages: which of two ways holds weights and gradients, and what both offer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from planner.validation.trainer.cuts import Owned
from planner.validation.trainer.groups import Groups
from planner.validation.trainer.settings import Settings


class Replicas(Protocol):
    """The states of a rank's stages along dp x cp (experts: along edp)."""

    def materialise(self, device: str) -> None:
        """Storage for stages that were built on ``meta``; values follow by ``initial.fill``."""
        ...

    def last_backward(self, stage: int, last: bool) -> None:
        """Say before a backward pass of a stage whether it is the last of the step."""
        ...

    def collect(self, stage: int) -> None:
        """All passes of a stage are through; split ones left weight gradients at the parameters without calling hooks."""
        ...

    def gradient(self, parameter: nn.Parameter) -> Tensor:
        """What this rank holds of a parameter's gradient, to be changed in place before ``finish``."""
        ...

    def finish(self) -> None:
        """All passes of all stages are through: gradients are complete afterwards."""
        ...

    def weights(self) -> Sequence[Tensor]:
        """What this rank's optimizer updates."""
        ...

    def weight_gradients(self) -> Sequence[Tensor]:
        """Gradients of ``weights``, in their order."""
        ...

    def publish(self) -> None:
        """Give the updated weights to all ranks that hold them."""
        ...

    def zero_gradients(self) -> None:
        """Ready for the next step."""
        ...

    def gradients(self) -> Iterator[tuple[Owned, Tensor]]:
        """After ``finish``, on all ranks alike: gradients summed over replicas, for ``cuts.piece``."""
        ...


def attach_replicas(stages: Mapping[int, nn.Module], settings: Settings, groups: Groups) -> Replicas:
    """The replicas of a run: PyTorch's fully_shard or replicate, Megatron-LM's flat buckets or DeepSpeed's scattered ones.

    Args:
        stages: virtual stage -> its module on ``meta`` or a device, with tensor parallelism and recompute applied.
    """
    shard = settings.layout.shard
    replicated = shard.optimizer == 1 and settings.convention == "pytorch"
    if shard.parameters == 1 < shard.gradients and settings.convention == "megatron":
        from planner.validation.trainer.data.scattered import ScatteredReplicas, can_scatter

        if can_scatter(stages, settings, groups):
            return ScatteredReplicas(stages, settings, groups)
    if replicated or shard.gradients > 1:
        from planner.validation.trainer.data.units import UnitReplicas

        return UnitReplicas(stages, settings, groups)
    from planner.validation.trainer.data.flat import FlatReplicas

    return FlatReplicas(stages, settings, groups)
