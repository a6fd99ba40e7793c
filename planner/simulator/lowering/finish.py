"""The end of a rank's step: gradients reduced, tied tables summed, the update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import StageTime, stage_times, tied_sums
from planner.simulator.links import host_route
from planner.simulator.lowering.host import HostTraffic
from planner.simulator.lowering.passes import Moved, PricedLayout, moved_by
from planner.simulator.lowering.rank import GroupsOf, LoweredRank, stream_of
from planner.simulator.lowering.stamp import SPAN, AxisGroups, Item, Stamp, Where
from planner.simulator.program import NONE, What


@dataclass(frozen=True)
class RankEnd:
    """Seconds of what follows a rank's passes.

    Args:
        exchanges: weight-gradient sums over tp. tied: the tied table's sum between the first and the last rank.
        update_s: optimizer.
    """

    exchanges: Moved
    tied: Moved
    update_s: float


def rank_ends(priced: PricedLayout) -> tuple[RankEnd, ...]:
    """By pipeline rank, what follows its passes."""
    group = stage_group(priced)
    times = stage_times(priced.job, priced.row, priced.prices, group)
    return tuple(_rank_end(priced, stage, time) for stage, time in zip(priced.ranks, times, strict=True))


def stage_group(priced: PricedLayout) -> StageGroup:
    """One stage class per pipeline rank, as the costs want it."""
    twice = 2 if priced.layout.schedule == "dualpipe" else 0
    return StageGroup(np.zeros(1, dtype=np.int64), priced.layout.pp, priced.layout.vpp, priced.ranks, twice)


def _rank_end(priced: PricedLayout, stage: StageClass, time: StageTime) -> RankEnd:
    blocks = [block for index in stage.virtual_stages for block in priced.stages[index].blocks]
    tied = [moved_by(cost) for cost in tied_sums(priced.job, priced.row, stage)]
    return RankEnd(
        sum((block.exchange for block in blocks), Moved()), sum(tied, Moved()), float(time.optimizer[0])
    )


def finish_rank(
    stamp: Stamp,
    lowered: LoweredRank,
    end: RankEnd,
    host: HostTraffic,
    groups_of: GroupsOf,
    extra: Sequence[Item],
) -> None:
    """Tasks from a rank's last pass to its update.

    Args:
        extra: transfers across ranks that the update waits for.
    """
    where = Where(np.array([len(lowered.entry) * SPAN]), NONE, NONE)
    join = stamp.wait(where, 0)
    stamp.after(join, lowered.reductions)
    waited = [join]
    for offset, (key, moved) in enumerate(lowered.tails.items(), start=1):
        if moved.seconds > 0.0:
            item = stamp.transfer(
                where, offset, groups_of(key, stream_of(key, What.REDUCE)), moved, What.REDUCE
            )
            stamp.after(item, waited)
            waited = [item]
    last = len(lowered.tails) + 1
    if end.exchanges.seconds > 0.0:
        item = stamp.transfer(where, last, groups_of(("tp", 1, 0), "tp"), end.exchanges, What.EXCHANGE)
        stamp.after(item, waited)
        waited = [item]
    if host.optimizer.seconds > 0.0:
        waited = [
            _streamed(stamp, where, last + 1, host.optimizer, groups_of(("offload", 1, 1), "offload"), waited)
        ]
    update = stamp.compute(where, last + 2, end.update_s, What.OPTIMIZER)
    stamp.after(update, [*waited, *extra])


def _streamed(
    stamp: Stamp, where: Where, offset: int, moved: Moved, groups: AxisGroups, waited: Sequence[Item]
) -> Item:
    """Offloaded state through the device and back; half of the bytes each way, counted on the way out."""
    nbytes = moved.nbytes[0] / 2.0 if stamp.sharing else 0.0
    routes = [host_route(stamp.network, stamp.builder, m[0], nbytes, outgoing=True) for m in groups.members]
    item = stamp.moved(where, offset, groups, moved, What.OFFLOAD_OUT, routes)
    stamp.after(item, waited)
    return item
