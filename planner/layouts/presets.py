"""Named ways to shard the training states: ZeRO stages, FSDP, HSDP, hpZ."""

from __future__ import annotations

from planner.layouts.layout import Shard


def zero_shard(stage: int, group: int) -> Shard:
    """Shard groups of ZeRO stage 0-3 over ``group`` = dp x cp ranks (Rajbhandari et al. 2020, section 5).

    Stage 1 shards the optimizer state, 2 the gradients too, 3 (FSDP's full shard) also the parameters.
    """
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"ZeRO has stages 0 to 3, not {stage}")
    return Shard(
        parameters=group if stage >= 3 else 1,
        gradients=group if stage >= 2 else 1,
        optimizer=group if stage >= 1 else 1,
    )


def hsdp_shard(size: int) -> Shard:
    """Hybrid sharding: all states sharded over the first ``size`` ranks, replicated over the rest (FSDP paper, 3.2.2)."""
    return Shard(parameters=size, gradients=size, optimizer=size)


def hpz_shard(group: int, secondary: int) -> Shard:
    """ZeRO++ hpZ: stage 3 over ``group`` ranks with a second parameter shard over ``secondary`` ranks for backward."""
    return Shard(parameters=group, gradients=group, optimizer=group, parameters_secondary=secondary)


def sharded_stage(shard: Shard) -> int:
    """The ZeRO stage whose states this shard splits, whatever the group sizes."""
    if shard.parameters > 1:
        return 3
    if shard.gradients > 1:
        return 2
    return 1 if shard.optimizer > 1 else 0
