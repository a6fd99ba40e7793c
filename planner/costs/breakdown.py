"""One pipeline rank's step taken apart: time by class, FLOPs, and every transfer."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from planner.costs.block_price import AXES, BlockPrice, PassPrice
from planner.costs.collectives import Algorithm, collective_cost
from planner.costs.flat_buckets import chunk_blocks, in_buckets
from planner.costs.hops import hop_times
from planner.costs.pipeline import hop_count, splits_backward
from planner.costs.prices import PriceRows
from planner.costs.replicas import USED, Flow, Occasion, flows_of_ranks
from planner.costs.shard_units import stage_parts
from planner.costs.stages import StageClass, StageGroup
from planner.costs.states import shard_groups
from planner.costs.step import StageTime, ends_of, tied_bytes, tied_sums
from planner.costs.transfers import Transfer, strides_of
from planner.jobs.prediction import EXPOSED_AXES, CommunicationRow, Pass, TimeBreakdown
from planner.jobs.types import Job
from planner.layouts.layouts import Layouts
from planner.layouts.mesh import spread


def _owned(prices: PriceRows, stage: StageClass) -> Iterator[tuple[int, int, BlockPrice]]:
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
) -> TimeBreakdown:
    """Time of one rank by class; what is left of the step is its bubble."""
    m = float(row.columns["micro_batches"][0])
    scale = m * group.turns
    split = bool(splits_backward(row.columns["schedule"])[0])
    compute = recompute = contention = host = 0.0
    exposed = dict.fromkeys(EXPOSED_AXES, 0.0)
    for at, count, price in _owned(prices, stage):
        parts: tuple[PassPrice, ...] = (price.forward, price.split if split else price.backward)
        for part in parts:
            compute += scale * count * float(part.compute_s[at])
            recompute += scale * count * float(part.recompute_s[at])
            contention += scale * count * float(part.contention_s[at])
            host += scale * count * float(part.host_s[at])
            for axis in AXES:
                exposed[axis] += scale * count * float(part.exposed[axis][at])
    exposed["dp"] += float(time.traffic.by_axis["dp"][0])
    exposed["edp"] += float(time.traffic.by_axis["edp"][0])
    exposed["offload"] += float(time.offload[0])
    exposed["tp"] += float(time.exchanges[0])
    exposed["pp"] += float(time.tied[0]) + hops_s
    slowed = float(time.contention[0])
    optimizer = float(time.optimizer[0])
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
    again = sum(count * float(p.recompute_flops[at]) for at, count, p in _owned(prices, stage))
    once = sum(
        count * float(p.forward_flops[at] + p.backward_flops[at]) for at, count, p in _owned(prices, stage)
    )
    scale = float(row.columns["micro_batches"][0]) * group.turns
    return scale * (once + again), scale * again


def rank_communication(
    job: Job, row: Layouts, prices: PriceRows, group: StageGroup, stage: StageClass, time: TimeBreakdown
) -> tuple[CommunicationRow, ...]:
    """Every kind of transfer of one rank's step; equal ones of several blocks are added up."""
    rows = [
        *_block_rows(row, prices, stage),
        *in_buckets(job, row, group, stage, list(_replica_rows(job, row, prices, stage))),
        *_hop_rows(job, row, prices, group, stage),
        *_tied_rows(job, row, stage),
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
    for at, count, price in _owned(prices, stage):
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


def _replica_rows(job: Job, row: Layouts, prices: PriceRows, stage: StageClass) -> Iterator[CommunicationRow]:
    """Traffic of the shared states: calls and bytes by unit, seconds those of the step, which knows units of one size."""
    m = float(row.columns["micro_batches"][0])
    groups, parts = shard_groups(row), stage_parts(job, row, prices, stage)
    flows, whole = flows_of_ranks(job, row, groups, [parts, parts.whole])
    priced, listed = _by_kind(whole), _by_kind(flows)
    for flow in flows:
        if flow.calls[0]:
            times = 1.0 if flow.occasion.startswith("step") else m
            pass_: Pass = (
                "forward" if flow.what == USED and flow.occasion == "step_gather" else _PASS_OF[flow.occasion]
            )
            made = _row(flow.what, flow.collective, flow.axis, pass_, flow, times)
            kind = (flow.what, flow.axis, flow.occasion)
            share = made.seconds / listed[kind] if listed[kind] else 0.0
            yield dataclasses.replace(made, seconds=share * priced[kind])


def _by_kind(flows: Collection[Flow]) -> dict[tuple[str, str, str], float]:
    """Seconds of one occasion of all flows of a kind."""
    found: dict[tuple[str, str, str], float] = {}
    for flow in flows:
        kind = (flow.what, flow.axis, flow.occasion)
        found[kind] = found.get(kind, 0.0) + float(flow.seconds[0])
    return found


def _hop_rows(
    job: Job, row: Layouts, prices: PriceRows, group: StageGroup, stage: StageClass
) -> Iterator[CommunicationRow]:
    """Sends of the residual stream, counted at the sender: forward to the next rank, gradients to the previous one."""
    if group.pp == 1:
        return
    stream = float(max(prices.largest(("stream",), s.recomputed, s.plain)[0] for s in group.classes))
    reach = spread(row.columns["pp"], strides_of(row)["pp"], job.cluster)
    cost = collective_cost("send_recv", np.array([stream]), reach, job.cluster)
    m = float(row.columns["micro_batches"][0])
    c = row.columns
    waits = float(hop_count(c["schedule"], c["pp"], c["vpp"], c["micro_batches"])[0])
    seconds = float(hop_times(job, row, prices, group).total[0])
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
            ranks_per_level=tuple(float(x) for x in reach.ranks_per_level[0]),
            algorithm=Algorithm(int(cost.algorithm[0])).label,
            bytes_per_call=stream,
            calls_per_step=messages,
            seconds=seconds * max(m * group.vpp, waits / 2.0),
            exposed_s=0.0,
        )


def _tied_rows(job: Job, row: Layouts, stage: StageClass) -> Iterator[CommunicationRow]:
    """One sum a step of the gradient of each table that the first and the last pipeline rank both hold."""
    for nbytes, cost in zip(tied_bytes(job, row, stage), tied_sums(job, row, stage), strict=True):
        yield CommunicationRow(
            what="tied table",
            collective="all_reduce",
            axis="pp",
            pass_="backward",
            ranks=2,
            ranks_per_level=tuple(float(x) for x in ends_of(row, job).ranks_per_level[0]),
            algorithm=Algorithm(int(cost.algorithm[0])).label,
            bytes_per_call=float(nbytes[0]),
            calls_per_step=1.0,
            seconds=float(cost.seconds[0]),
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
