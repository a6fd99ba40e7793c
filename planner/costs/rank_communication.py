"""Every transfer of one pipeline rank's step, as reports list them; those of ranks and layouts alike are priced together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from planner.costs.breakdown import owned_blocks
from planner.costs.collectives import Algorithm, CollectiveCost, collective_cost
from planner.costs.flat_buckets import chunk_blocks, in_buckets
from planner.costs.hops import hop_times, stream_bytes
from planner.costs.pipeline import hop_count
from planner.costs.prices import PriceRows
from planner.costs.replicas import USED, Flow, Occasion, flows_of_ranks
from planner.costs.shard_units import stage_parts
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass, StageGroup
from planner.costs.states import shard_groups
from planner.costs.step import ends_of, tied_bytes, tied_sums
from planner.costs.transfers import Transfer, strides_of
from planner.jobs.prediction import CommunicationRow, Pass, TimeBreakdown
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.layouts.mesh import Spread, spread


@dataclass(frozen=True)
class Hops:
    """Sends of the residual stream to the next pipeline rank, shape (rows,).

    Args:
        nbytes: of one message. reach, cost: of it. seconds: of one hop, the mean over all ranks.
        waits: how many hops the step's makespan holds.
    """

    nbytes: FloatArray
    reach: Spread
    cost: CollectiveCost
    seconds: FloatArray
    waits: FloatArray


@dataclass(frozen=True)
class Sums:
    """Sums of tied tables' gradients between two pipeline ranks: bytes, (rows,), and cost of each table."""

    ends: Spread
    tables: tuple[tuple[FloatArray, CollectiveCost], ...]


@dataclass(frozen=True)
class Traffic:
    """What ranks of layouts with the same stage classes send beside the exchanges of their blocks, priced for all rows.

    Args:
        flows: ``content`` of a stage -> traffic of its shared states by unit, and with units of one size.
        hops: None without a pipeline. tied: ``content`` of a stage -> its tied tables.
    """

    flows: Mapping[object, tuple[tuple[Flow, ...], tuple[Flow, ...]]]
    hops: Hops | None
    tied: Mapping[object, Sums]


def traffic_of(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> Traffic:
    """Traffic of every stage class of a group.

    Args:
        layouts, prices: the rows of the group.
    """
    different = {stage.content: stage for stage in group.classes}
    by_unit = [stage_parts(job, layouts, prices, stage) for stage in different.values()]
    asked = [parts for units in by_unit for parts in (units, units.whole)]
    flows = flows_of_ranks(job, layouts, shard_groups(layouts), asked)
    return Traffic(
        dict(zip(different, zip(flows[::2], flows[1::2], strict=True), strict=True)),
        _hops(job, layouts, prices, group) if group.pp > 1 else None,
        {content: _sums(job, layouts, stage) for content, stage in different.items()},
    )


def _hops(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> Hops:
    c = layouts.columns
    stream = stream_bytes(prices, group)
    reach = spread(c["pp"], strides_of(layouts)["pp"], job.cluster)
    return Hops(
        stream,
        reach,
        collective_cost("send_recv", stream, reach, job.cluster),
        hop_times(job, layouts, prices, group).total,
        hop_count(c["schedule"], c["pp"], c["vpp"], c["micro_batches"]),
    )


def _sums(job: Job, layouts: Layouts, stage: StageClass) -> Sums:
    sizes, costs = tied_bytes(job, layouts, stage), tied_sums(job, layouts, stage)
    return Sums(ends_of(layouts, job), tuple(zip(sizes, costs, strict=True)))


def rank_communication(
    job: Job,
    row: Layouts,
    prices: PriceRows,
    group: StageGroup,
    stage: StageClass,
    time: TimeBreakdown,
    traffic: Traffic,
    place: int = 0,
) -> tuple[CommunicationRow, ...]:
    """Every kind of transfer of one rank's step; equal ones of several blocks are added up.

    Args:
        row, prices, group: of a single layout. traffic: of several, among which it has this ``place``.
    """
    m = float(row.columns["micro_batches"][0])
    states = list(_replica_rows(m, traffic.flows[stage.content], place))
    rows = [
        *_block_rows(row, prices, stage),
        *in_buckets(job, row, group, stage, states),
        *(() if traffic.hops is None else _hop_rows(m, group, stage, traffic.hops, place)),
        *_tied_rows(traffic.tied[stage.content], place),
    ]
    merged: dict[object, CommunicationRow] = {}
    for item in rows:
        key = (item.what, item.collective, item.axis, item.pass_, item.ranks, item.bytes_per_call)
        known = merged.get(key)
        merged[key] = item if known is None else _added(known, item)
    return tuple(_with_exposure(merged.values(), time.exposed))


def communication_kind(job: Job, row: Layouts, group: StageGroup, stage: StageClass) -> object:
    """Ranks of a single layout for which it is equal have the same transfers."""
    blocks = tuple(tuple(names) for names in chunk_blocks(job, row, group, stage))
    return blocks, stage.owned, _senders(stage, group, 1), _senders(stage, group, -1)


def _added(a: CommunicationRow, b: CommunicationRow) -> CommunicationRow:
    return dataclasses.replace(
        a, calls_per_step=a.calls_per_step + b.calls_per_step, seconds=a.seconds + b.seconds
    )


def _with_exposure(
    items: Collection[CommunicationRow], exposed: Mapping[str, float]
) -> Iterator[CommunicationRow]:
    """Shares each axis' exposed time among its transfers by their seconds."""
    totals: dict[str, float] = {}
    for item in items:
        totals[item.axis] = totals.get(item.axis, 0.0) + item.seconds
    for item in items:
        total = totals[item.axis]
        share = item.seconds / total if total else 0.0
        yield dataclasses.replace(item, exposed_s=share * exposed.get(item.axis, 0.0))


def _block_rows(row: Layouts, prices: PriceRows, stage: StageClass) -> Iterator[CommunicationRow]:
    m = float(row.columns["micro_batches"][0])
    for at, count, price in owned_blocks(prices, stage):
        for transfer, repeated in zip(price.transfers, price.repeated, strict=True):
            pass_: Pass = transfer.exchange.pass_
            times = count * (1.0 if pass_ == "optimizer" else m)
            exchange = transfer.exchange
            yield _row(exchange.what, exchange.collective, transfer.axis, pass_, transfer, times, at)
            if repeated:
                yield _row(
                    exchange.what, exchange.collective, transfer.axis, "recompute", transfer, times, at
                )


def _row(
    what: str, collective: str, axis: str, pass_: Pass, source: Transfer | Flow, times: float, at: int = 0
) -> CommunicationRow:
    """A transfer of a single layout, for ``times`` occasions a step.

    Args:
        at: place of the layout in the source.
    """
    return CommunicationRow(
        what=what,
        collective=collective,
        axis=axis,
        pass_=pass_,
        ranks=int(source.ranks[at]),
        ranks_per_level=tuple(float(x) for x in source.spread.ranks_per_level[at]),
        algorithm=Algorithm(int(source.cost.algorithm[at])).label,
        bytes_per_call=float(source.nbytes[at]),
        calls_per_step=float(source.calls[at]) * times,
        seconds=float(source.seconds[at]) * times,
        exposed_s=0.0,
    )


_PASS_OF: Mapping[Occasion, Pass] = {
    "forward_gather": "forward",
    "backward_gather": "backward",
    "micro_reduce": "backward",
    "step_reduce": "backward",
    "step_gather": "optimizer",
}


def _replica_rows(
    m: float, flows: tuple[tuple[Flow, ...], tuple[Flow, ...]], place: int
) -> Iterator[CommunicationRow]:
    """Traffic of the shared states: calls and bytes by unit, seconds those of the step, which knows units of one size.

    Args:
        m: micro-batches. flows: by unit, and with units of one size.
    """
    listed, priced = (_by_kind(some, place) for some in flows)
    for flow in flows[0]:
        if flow.calls[place]:
            times = 1.0 if flow.occasion.startswith("step") else m
            pass_: Pass = (
                "forward" if flow.what == USED and flow.occasion == "step_gather" else _PASS_OF[flow.occasion]
            )
            made = _row(flow.what, flow.collective, flow.axis, pass_, flow, times, place)
            kind = (flow.what, flow.axis, flow.occasion)
            share = made.seconds / listed[kind] if listed[kind] else 0.0
            yield dataclasses.replace(made, seconds=share * priced[kind])


def _by_kind(flows: Collection[Flow], place: int) -> dict[tuple[str, str, str], float]:
    """Seconds of one occasion of all flows of a kind."""
    found: dict[tuple[str, str, str], float] = {}
    for flow in flows:
        kind = (flow.what, flow.axis, flow.occasion)
        found[kind] = found.get(kind, 0.0) + float(flow.seconds[place])
    return found


def _hop_rows(
    m: float, group: StageGroup, stage: StageClass, hops: Hops, place: int
) -> Iterator[CommunicationRow]:
    """Sends of the residual stream, counted at the sender: forward to the next rank, gradients to the previous one."""
    passes: tuple[tuple[Pass, int], ...] = (("forward", 1), ("backward", -1))
    for pass_, towards in passes:
        messages = m * group.turns * _senders(stage, group, towards)
        if messages == 0.0:
            continue
        yield CommunicationRow(
            what="residual stream",
            collective="send_recv",
            axis="pp",
            pass_=pass_,
            ranks=group.pp,
            ranks_per_level=tuple(float(x) for x in hops.reach.ranks_per_level[place]),
            algorithm=Algorithm(int(hops.cost.algorithm[place])).label,
            bytes_per_call=float(hops.nbytes[place]),
            calls_per_step=messages,
            seconds=float(hops.seconds[place]) * max(m * group.vpp, float(hops.waits[place]) / 2.0),
            exposed_s=0.0,
        )


def _tied_rows(sums: Sums, place: int) -> Iterator[CommunicationRow]:
    """One sum a step of the gradient of each table that the first and the last pipeline rank both hold."""
    for nbytes, cost in sums.tables:
        yield CommunicationRow(
            what="tied table",
            collective="all_reduce",
            axis="pp",
            pass_="backward",
            ranks=2,
            ranks_per_level=tuple(float(x) for x in sums.ends.ranks_per_level[place]),
            algorithm=Algorithm(int(cost.algorithm[place])).label,
            bytes_per_call=float(nbytes[place]),
            calls_per_step=1.0,
            seconds=float(cost.seconds[place]),
            exposed_s=0.0,
        )


def _senders(stage: StageClass, group: StageGroup, towards: int) -> int:
    """Virtual stages of a rank whose result goes to another rank: not from the end of the chain, nor over a V's fold."""
    both_directions = group.placement == 2
    last = group.pp * (1 if both_directions else max(group.vpp, 2 if group.placement == 1 else 1)) - 1
    return sum(
        0 <= place + towards <= last and (both_directions or place + towards not in stage.virtual_stages)
        for place in stage.virtual_stages
    )
