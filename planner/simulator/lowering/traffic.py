"""Data-parallel traffic of a pipeline rank, dealt out to the blocks that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from planner.costs.overlap import hidden_shares
from planner.costs.replicas import Occasion, replica_flows
from planner.costs.shard_units import stage_parts
from planner.costs.stages import StageClass
from planner.costs.states import shard_groups
from planner.simulator.lowering.passes import BlockCost, Moved, PricedLayout, moved_by


@dataclass(frozen=True)
class ReplicaTraffic:
    """One kind of collective of a rank.

    Args:
        what, occasion: as ``costs.replicas.Flow`` names them.
        axis: dp for dense parameters, edp for routed experts.
        first, size: the group: every first-th rank of the axis, so many of them.
        moved: all calls of one occasion.
        hidden: the share that overlaps as far as there is computation.
    """

    what: str
    occasion: Occasion
    axis: Literal["dp", "edp"]
    first: int
    size: int
    moved: Moved
    hidden: float
    copies_s: float = 0.0

    def elements(self, block: BlockCost) -> float:
        """Of the block's parameters those that this traffic carries."""
        return block.expert if self.axis == "edp" else block.dense


def rank_traffic(priced: PricedLayout) -> list[tuple[ReplicaTraffic, ...]]:
    """By pipeline rank, all of its data-parallel collectives; ranks of equal blocks have equal ones."""
    found: dict[object, tuple[ReplicaTraffic, ...]] = {}
    for stage in priced.ranks:
        if stage.owned not in found:
            found[stage.owned] = _stage_traffic(priced, stage)
    return [found[stage.owned] for stage in priced.ranks]


def _stage_traffic(priced: PricedLayout, stage: StageClass) -> tuple[ReplicaTraffic, ...]:
    parts = stage_parts(priced.job, priced.row, priced.prices, stage).whole
    shares = hidden_shares(priced.job)
    flows = replica_flows(priced.job, priced.row, shard_groups(priced.row), parts)
    return tuple(
        ReplicaTraffic(
            what=flow.what,
            occasion=flow.occasion,
            axis=flow.axis,
            first=int(flow.first[0]),
            size=int(flow.ranks[0]),
            moved=moved_by(flow.cost, float(flow.calls[0])),
            hidden=shares[flow.occasion],
            copies_s=float(flow.copies_s[0]),
        )
        for flow in flows
        if flow.seconds[0] > 0.0
    )


def dealt(traffic: ReplicaTraffic, rank: Sequence[BlockCost], blocks: Sequence[BlockCost]) -> list[Moved]:
    """The traffic of each of ``blocks`` on one occasion, by its share of the rank's parameters.

    What belongs to none (a copy of a tied table) is spread over the others, so that the shares of a rank add up.

    Args:
        rank: all blocks of the rank.
    """
    whole = sum(traffic.elements(block) for block in rank)
    if whole <= 0.0:
        return [traffic.moved.share(1.0 / len(rank)) for _ in blocks]
    return [traffic.moved.share(traffic.elements(block) / whole) for block in blocks]


def on(traffic: Sequence[ReplicaTraffic], *occasions: Occasion) -> list[ReplicaTraffic]:
    """Those that happen on one of the occasions."""
    return [item for item in traffic if item.occasion in occasions]
