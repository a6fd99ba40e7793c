"""Messages and sums between groups, over the link that joins them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.costs.collectives import collective_cost
from planner.costs.hops import HopTimes, exposed_share, hop_times
from planner.costs.pipeline import hop_count
from planner.costs.sizes import FloatArray
from planner.costs.stages import StageClass, StageGroup
from planner.costs.states import gradient_bytes
from planner.costs.step import tied_bytes
from planner.hardware.types import Cluster, NetworkLevel
from planner.jobs.types import Job
from planner.layouts.layout import SCHEDULES
from planner.layouts.layouts import IntArray
from planner.layouts.mesh import Spread
from planner.models.graph import ModelGraph
from planner.solvers.mixed.ways import SCHEDULE, Ways


def inner_hops(ways: Ways) -> HopTimes:
    """One hop between neighbouring stages of the group, every way; 0 where the group has one stage."""
    whole = _whole_model(ways.job.model)
    group = StageGroup(np.arange(len(ways)), 2, 1, (whole,), 0)
    hop = hop_times(ways.job, ways.layouts, ways.prices.rows(ways.layouts), group)
    some = ways.stages > 1
    return HopTimes(np.where(some, hop.total, 0.0), np.where(some, hop.sending, 0.0))


def crossing_hops(ways: Ways, level: NetworkLevel) -> HopTimes:
    """One hop to or from another group as the devices of this side send or receive it, every way.

    All devices of the stage exchange their parts of the residual stream at the same time, each over its own share of the link.
    """
    whole = _whole_model(ways.job.model)
    stream = ways.prices.rows(ways.layouts).largest(("stream",), {}, whole.plain)
    pair, cluster = _over(level, 2, ways.job.cluster)
    cost = collective_cost("send_recv", stream, _repeated(pair, len(ways)), cluster)
    return HopTimes(cost.seconds, np.maximum(cost.seconds - cost.latency_s, 0.0))


def tied_seconds(ways: Ways, level: NetworkLevel) -> FloatArray:
    """Sum of the tied tables' gradients between this side's devices and those of another group, every way."""
    borrowed = _borrowing_stage(ways.job.model)
    columns = {**ways.layouts.columns, "pp": np.full(len(ways), 2, dtype=np.int64)}
    pair, cluster = _over(level, 2, ways.job.cluster)
    total = np.zeros(len(ways))
    for nbytes in tied_bytes(ways.job, replace(ways.layouts, columns=columns), borrowed):
        total = total + collective_cost("all_reduce", nbytes, _repeated(pair, len(ways)), cluster).seconds
    return total


def gradient_sum_seconds(jobs: tuple[Job, ...], level: NetworkLevel) -> float:
    """Sum of all gradients over groups that each hold the whole model, once per step.

    Every group reduces inside itself first, so that each device holds its part of the sum; parts are as large as those of the
    group with the fewest devices.
    """
    job = jobs[0]
    elements = sum(
        float(np.prod([axis.size for axis in parameter.axes if axis.size is not None]))
        for block in job.model.order
        for parameter in job.model.blocks[block].parameters.values()
        if parameter.tied_to is None
    )
    part = elements * gradient_bytes(job)[1] / min(one.devices for one in jobs)
    spread, cluster = _over(level, len(jobs), job.cluster)
    return float(collective_cost("all_reduce", np.array([part]), spread, cluster).seconds[0])


@dataclass(frozen=True)
class Hops:
    """Hops of pipelines over groups, shape (rows,).

    Args:
        waited: seconds of short hops that the schedule has no slack for.
        longest: seconds of the longest hop that nothing hides.
        filled: seconds that the messages of the busiest link take, which no pipeline can be shorter than.
    """

    waited: FloatArray
    longest: FloatArray
    filled: FloatArray


def pipeline_hops(
    job: Job, stages: IntArray, micro_batches: IntArray, longest: HopTimes, once: FloatArray
) -> Hops:
    """What hops of unequal length add under 1F1B.

    The counts are those of equal hops (``hop_count``, ``exposed_hops``): each hop once there and back while the pipeline
    fills and drains, and the longest one wherever it recurs.

    Args:
        stages, micro_batches: of the whole pipeline. longest: the longest hop, and the longest sending.
        once: all hops of the pipeline one after the other, one way.
    """
    one = np.ones_like(stages)
    count = hop_count(one * SCHEDULES.index(SCHEDULE), stages, one, micro_batches)
    share, apart = exposed_share(job), np.maximum(stages - 1, 0)
    recurring = count - 2.0 * apart
    waited = share * (2.0 * once + recurring * longest.total)
    turns = np.where(stages > 2, 2.0, 1.0)
    way = 2.0 * np.maximum(once - longest.total, 0.0)
    return Hops(waited, share * longest.total, micro_batches * turns * longest.sending + share * way)


def _over(level: NetworkLevel, groups: int, cluster: Cluster) -> tuple[Spread, Cluster]:
    """One rank of each group and a network of just their link."""
    one = np.ones(1, dtype=np.int64)
    spread = Spread(groups * one, one, groups, one[:, None])
    joined = replace(level, size=groups)
    return spread, replace(cluster, nodes=groups, devices_per_node=1, network=(joined,))


def _repeated(pair: Spread, rows: int) -> Spread:
    return Spread(
        np.repeat(pair.size, rows),
        np.repeat(pair.stride, rows),
        pair.devices,
        np.repeat(pair.domains, rows, 0),
    )


def _whole_model(model: ModelGraph) -> StageClass:
    return StageClass((0,), {}, dict.fromkeys(model.blocks, 1), (0,), True, True)


def _borrowing_stage(model: ModelGraph) -> StageClass:
    """A stage that owns every block with a parameter tied to another block's."""
    borrowing = {
        name: 1
        for name, block in model.blocks.items()
        if any(parameter.tied_to is not None for parameter in block.parameters.values())
    }
    return StageClass((1,), {}, borrowing, (1,), False, True)
