"""Messages between pipeline ranks: what one takes, and what of them the step waits for. Docs: docs/cost-model.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.collectives import collective_cost
from planner.costs.pipeline import hop_count, keeps_logits
from planner.costs.prices import PriceRows
from planner.costs.sizes import FloatArray
from planner.costs.stages import V_SCHEDULES, StageGroup
from planner.costs.transfers import strides_of
from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import Layouts
from planner.layouts.mesh import Spread, spread


@dataclass(frozen=True)
class HopTimes:
    """Seconds of one hop, shape (rows,): ``total``, and of it ``sending``, in which its bytes fill the sender's link."""

    total: FloatArray
    sending: FloatArray


def hop_times(job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup) -> HopTimes:
    """One hop, the residual stream of one micro-batch to the next pipeline rank: the mean over all hops.

    Ranks that share a node exchange faster than those that do not; with several chunks the last rank also sends to the first.
    """
    stream = stream_bytes(prices, group)
    names = ("pp", "tp", "sp", "ulysses", "ring", "dp", "micro_batch", "axis_order", "vpp")
    first, inverse = layouts.unique(names)
    small = layouts.take(first)
    reach = spread(small.columns["pp"], strides_of(small)["pp"], job.cluster)
    v = np.maximum(small.columns["vpp"], 1).astype(np.float64)
    pairs = -np.diff(reach.domains, axis=1, prepend=reach.size[:, None])
    crossed = [level for level in range(pairs.shape[1]) if pairs[:, level].any()]
    crossing = [np.where(np.arange(pairs.shape[1]) < level, 2, np.ones_like(pairs)) for level in crossed]
    ways = np.concatenate([*crossing, np.minimum(reach.domains, 2)])
    shape = (len(crossed) + 1, len(small))
    size, stride, nbytes = (
        np.broadcast_to(values, shape).ravel()
        for values in (np.minimum(reach.size, 2), reach.stride, stream[first])
    )
    cost = collective_cost("send_recv", nbytes, Spread(size, stride, reach.devices, ways), job.cluster)
    hops = np.maximum(reach.size * v - 1.0, 1.0)
    times = []
    for part in (cost.seconds, cost.latency_s):
        *between, around = part.reshape(shape)
        total = sum((v * pairs[:, level] * one for level, one in zip(crossed, between, strict=True)), 0.0)
        times.append((total + (v - 1.0) * around) / hops)
    seconds, latency = times
    return HopTimes(seconds[inverse], np.maximum(seconds - latency, 0.0)[inverse])


def stream_bytes(prices: PriceRows, group: StageGroup) -> FloatArray:
    """Bytes of one message: the widest residual stream of any rank, shape (rows,)."""
    stream = np.zeros(len(prices.position))
    for stage in group.classes:
        stream = np.maximum(stream, prices.largest(("stream",), stage.recomputed, stage.plain))
    return stream


def exposed_hops(
    job: Job, layouts: Layouts, prices: PriceRows, group: StageGroup, pipeline_s: FloatArray
) -> FloatArray:
    """Seconds of the step in which the pipeline waits for hops between its ranks, shape (rows,).

    Short hops are waited for as often as ``waited_hops`` says. Long ones fill the link of the rank that sends
    most, whatever the framework overlaps: the pipeline then lasts as long as that rank's messages, after the first one has
    come to it from rank 0 and until the last one is back there.

    Args:
        pipeline_s: (rows,), what passes and waiting for other ranks take.
    """
    if group.pp == 1:
        return np.zeros(len(layouts))
    share = exposed_share(job)
    hop = hop_times(job, layouts, prices, group)
    way = 2.0 * np.maximum(layouts.columns["pp"] - 2, 0)
    filled = _messages_sent(layouts, share) * hop.sending + share * way * hop.total
    return np.maximum(waited_hops(job, layouts) * hop.total, filled - pipeline_s)


def exposed_share(job: Job) -> float:
    """Share of short hops that nothing hides."""
    return 1.0 - float(job.training.overlap.get("pp", job.framework.hidden.pp))


def blocks_hops(job: Job) -> bool:
    """Whether ranks of interleaved schedules stand still while they send, unless the job says what of hops is hidden."""
    return job.framework.blocking_hops and "pp" not in job.training.overlap


def waited_hops(job: Job, layouts: Layouts) -> FloatArray:
    """How many whole hops the pipeline waits for, shape (rows,).

    As many as the schedule has no slack for, less the hidden share. Where interleaved passes block until their message is
    delivered, the busiest rank waits for all that it sends (2 m v with more than two ranks), and filling and draining the
    pipeline takes 2 (p - 1) more.
    """
    c = layouts.columns
    count = exposed_share(job) * hop_count(c["schedule"], c["pp"], c["vpp"], c["micro_batches"])
    if not blocks_hops(job):
        return count
    blocking = c["schedule"] == SCHEDULES.index("interleaved_1f1b")
    return np.where(blocking, _messages_sent(layouts, 1.0) + 2.0 * (c["pp"] - 1.0), count)


def _messages_sent(layouts: Layouts, share: float) -> FloatArray:
    """Messages that follow each other per step on the busiest link between ranks.

    A middle rank passes every micro-batch on and back once per chunk. Of two ranks one holds the last chunk, and both
    chunks of a V meet on a rank; where all backward passes follow all forward passes, both directions take turns.
    """
    c = layouts.columns
    p, v, m = c["pp"], np.maximum(c["vpp"], 1), c["micro_batches"].astype(np.float64)
    v_shaped = np.array([name in V_SCHEDULES for name in SCHEDULES])[c["schedule"]]
    of_two = np.where(v_shaped, v, 2 * v - 1)
    turns = (p > 2) | (keeps_logits(c["schedule"]) & (share > 0.0))
    return m * np.where(turns, 2 * v, of_two)
