"""ZeRO stages (and FSDP, HSDP over a smaller group) as shard groups."""

from __future__ import annotations

from planner.layouts.layout import Shard


def zero_shard(stage: int, group: int) -> Shard:
    """Shard groups of ZeRO stage 0-3 over ``group`` ranks (Rajbhandari et al. 2020, section 5).

    Over all of dp x cp stage 3 is FSDP's full shard, over a smaller group it is HSDP (FSDP paper, 3.2.2).

    Stage 1 shards the optimizer state, 2 the gradients too, 3 also the parameters.
    """
    if stage not in (0, 1, 2, 3):
        raise ValueError(f"ZeRO has stages 0 to 3, not {stage}")
    return Shard(
        parameters=group if stage >= 3 else 1,
        gradients=group if stage >= 2 else 1,
        optimizer=group if stage >= 1 else 1,
    )
