"""One pipeline rank's step taken apart: time by class, and FLOPs."""

from __future__ import annotations

from collections.abc import Iterator

from planner.costs.block_price import AXES, BlockPrice, PassPrice
from planner.costs.pipeline import splits_backward
from planner.costs.prices import PriceRows
from planner.costs.stages import StageClass, StageGroup
from planner.costs.step import StageTime
from planner.jobs.prediction import EXPOSED_AXES, TimeBreakdown
from planner.layouts.layouts import Layouts


def owned_blocks(prices: PriceRows, stage: StageClass) -> Iterator[tuple[int, int, BlockPrice]]:
    """(the row's place in the price, instances, price) for recomputed and plain blocks of a single row."""
    table = prices.prices
    for counts, index in ((stage.recomputed, int(prices.policy[0])), (stage.plain, len(table.policies) - 1)):
        for name, count in counts.items():
            if count:
                yield int(prices.columns(name)[0]), count, table.blocks[name][index]


def rank_time(
    row: Layouts,
    prices: PriceRows,
    stage: StageClass,
    group: StageGroup,
    time: StageTime,
    hops_s: float,
    total_s: float,
    place: int = 0,
) -> TimeBreakdown:
    """Time of one rank by class; what is left of the step is its bubble.

    Args:
        row, prices: of a single layout. time: of several, among which it has this ``place``.
    """
    m = float(row.columns["micro_batches"][0])
    scale = m * group.turns
    split = bool(splits_backward(row.columns["schedule"])[0])
    compute = recompute = contention = host = 0.0
    exposed = dict.fromkeys(EXPOSED_AXES, 0.0)
    for at, count, price in owned_blocks(prices, stage):
        parts: tuple[PassPrice, ...] = (price.forward, price.split if split else price.backward)
        for part in parts:
            compute += scale * count * float(part.compute_s[at])
            recompute += scale * count * float(part.recompute_s[at])
            contention += scale * count * float(part.contention_s[at])
            host += scale * count * float(part.host_s[at])
            for axis in AXES:
                exposed[axis] += scale * count * float(part.exposed[axis][at])
    exposed["dp"] += float(time.traffic.by_axis["dp"][place])
    exposed["edp"] += float(time.traffic.by_axis["edp"][place])
    exposed["offload"] += float(time.offload[place])
    exposed["tp"] += float(time.exchanges[place])
    exposed["pp"] += float(time.tied[place]) + hops_s
    slowed = float(time.contention[place])
    optimizer = float(time.optimizer[place])
    known = compute + slowed + host + optimizer + sum(exposed.values())
    return TimeBreakdown(
        compute_s=compute + slowed,
        optimizer_s=optimizer,
        exposed=exposed,
        host_s=host,
        bubble_s=max(total_s - known, 0.0),
        of_which={"recompute_s": recompute, "contention_s": contention + slowed},
    )


def rank_flops(row: Layouts, prices: PriceRows, stage: StageClass, group: StageGroup) -> tuple[float, float]:
    """Matmul and attention FLOPs that one rank executes in a step: (all, of which repeated by recompute)."""
    again = sum(count * float(p.recompute_flops[at]) for at, count, p in owned_blocks(prices, stage))
    once = sum(
        count * float(p.forward_flops[at] + p.backward_flops[at])
        for at, count, p in owned_blocks(prices, stage)
    )
    scale = float(row.columns["micro_batches"][0]) * group.turns
    return scale * (once + again), scale * again
