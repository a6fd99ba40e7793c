"""Gradient and parameter traffic of the data-parallel axes: which collectives a sharding of states implies, and their time.

One rule covers ZeRO 0-3, FSDP, HSDP, hpZ and three-level partitioning: gradients are reduced into the largest shard group
of gradients and optimizer state, summed over the remaining replicas, and parameters are gathered wherever they are used
with a wider placement than they are stored in (arXiv 1910.02054, 2304.11277, 2306.10209, 2501.04266). FSDP stores parameters
where it stores gradients, and sums over the other replicas in every micro-batch (torch/distributed/fsdp/_fully_shard).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np

from planner.costs.collectives import CollectiveCost, collective_cost
from planner.costs.kernels import memory_bound_seconds
from planner.costs.shard_reach import Members, reach_of, two_axes
from planner.costs.shard_units import Part, StageParts, whole
from planner.costs.sizes import BoolArray, FloatArray
from planner.costs.stage_three import gathered_seconds, loop_seconds, scattered_seconds
from planner.costs.states import Groups, GroupSizes, gradient_bytes, parameter_shards
from planner.costs.transfers import strides_of
from planner.jobs.framework import StateLaw
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.mesh import Spread

TRAFFIC_KNOBS = (
    "tp",
    "ulysses",
    "ring",
    "dp",
    "pp",
    "ep",
    "etp",
    "shard_parameters",
    "shard_gradients",
    "shard_optimizer",
    "shard_secondary",
    "axis_order",
)
"""Knobs that the seconds of this traffic depend on, besides what the stage owns; of DeepSpeed's stage 3 ``recompute`` too."""

USED = "parameters"
"""What is gathered for a pass that uses it."""

UPDATED = "updated parameters"
"""What is gathered after the optimizer's update of shards."""

SMALL = "small parameters"
"""What DeepSpeed's stage 3 keeps gathered from one update to the next."""

Occasion = Literal["forward_gather", "backward_gather", "micro_reduce", "step_reduce", "step_gather"]


@dataclass(frozen=True)
class Flow:
    """One collective of the data-parallel axes, shape (rows,).

    Its group is every ``first``-th rank of the axis, ``ranks`` of them.
    ``calls`` happen on each occasion (every micro-batch for gathers and micro_reduce, every step otherwise);
    ``seconds`` is for all calls of one occasion; ``copies_s`` what they cost besides between the passes' own kernels.
    """

    what: str
    axis: Literal["dp", "edp"]
    occasion: Occasion
    collective: str
    first: IntArray
    ranks: FloatArray
    nbytes: FloatArray
    calls: FloatArray
    seconds: FloatArray
    copies_s: FloatArray
    spread: Spread
    cost: CollectiveCost


@dataclass(frozen=True)
class _Request:
    """A collective asked for: every ``first``-th rank of the group, ``size`` of them, ``nbytes`` in ``calls`` pieces.

    ``tensors``: that the pieces hold, if not one each. ``before_s``: seconds on its stream before it starts, of all calls.
    """

    what: str
    occasion: Occasion
    collective: Literal["all_reduce", "reduce_scatter", "all_gather"]
    first: FloatArray | float
    size: FloatArray
    nbytes: FloatArray
    calls: FloatArray | float
    tensors: FloatArray | float | None = None
    before_s: FloatArray | float = 0.0


@dataclass(frozen=True)
class _Asked:
    """A request of one of several ranks, for the first ranks of the members of an axis."""

    rank: int
    axis: Literal["dp", "edp"]
    members: Members
    request: _Request


def replica_flows(job: Job, layouts: Layouts, groups: Groups, parts: StageParts) -> tuple[Flow, ...]:
    """All data-parallel collectives of one pipeline rank.

    Args:
        layouts: rows (usually distinct combinations of ``TRAFFIC_KNOBS``).
        groups: shard groups of the rows.
        parts: the rank's parameters; units of several sizes give a flow for each.
    """
    (flows,) = flows_of_ranks(job, layouts, groups, [parts])
    return flows


def flows_of_ranks(
    job: Job, layouts: Layouts, groups: Groups, ranks: Sequence[StageParts]
) -> list[tuple[Flow, ...]]:
    """``replica_flows`` of several ranks of the same rows; collectives of one kind are priced together.

    Args:
        ranks: the parameters of each.
    """
    strides = strides_of(layouts)
    one = np.ones(len(layouts), dtype=np.int64)
    attention = two_axes(layouts.cp, strides["cp"], layouts.columns["dp"], strides["dp"])
    experts = Members(layouts.edp, strides["edp"], one, one)
    once = holds_back(job, layouts)
    asked: list[_Asked] = []
    for rank, parts in enumerate(ranks):
        dense = _requests(job, parts.dense, groups.dense, once)
        routed = _requests(job, parts.expert, groups.expert, once)
        asked += [_Asked(rank, "dp", attention, request) for request in dense]
        asked += [_Asked(rank, "edp", experts, request) for request in routed]
    priced: dict[int, Flow] = {}
    for collective in dict.fromkeys(one.request.collective for one in asked):
        alike = [place for place, one in enumerate(asked) if one.request.collective == collective]
        priced |= zip(alike, _priced(job, [asked[place] for place in alike]), strict=True)
    flows = [(asked[place].rank, priced[place]) for place in range(len(asked))]
    return [tuple(flow for of, flow in flows if of == rank) for rank in range(len(ranks))]


def holds_back(job: Job, layouts: Layouts) -> BoolArray:
    """Rows whose micro-batches all pass before gradients are reduced or weights let go: FSDP2 in a pipeline, (rows,).

    The pipeline's runtime switches both off until its last backward (``backward_maybe_with_nosync`` and
    ``perform_reduce_grad`` of torch/distributed/pipelining/stage.py).
    """
    return (layouts.columns["pp"] > 1) & (job.framework.shard_runtime == "fsdp2")


def _requests(job: Job, parts: Sequence[Part], sizes: GroupSizes, once: BoolArray) -> list[_Request]:
    """Collectives that the sharding of some parameters implies; those that move nothing are left out."""
    asked = [request for part in parts for request in _in_passes(job, part, sizes, once)]
    bucket = job.training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes)
    for part in (whole(parts),) if bucket else parts:
        travelling = part.elements * gradient_bytes(job)[1]
        calls = np.maximum(np.ceil(travelling / bucket), 1.0) if bucket else part.count
        asked += _in_step(job, part, sizes, calls, once)
    return [request for request in asked if bool((request.nbytes > 0).any())]


def _in_passes(job: Job, part: Part, sizes: GroupSizes, held: BoolArray) -> list[_Request]:
    """Collectives of every micro-batch, one for each unit."""
    law, fsdp = job.framework.state_law(job.training.precision), job.framework.shard_runtime != "zero"
    reduced, source = _reduced(law, sizes), parameter_shards(job, sizes)
    back = np.where(sizes.secondary > 0, sizes.secondary, sizes.parameters)
    scattered = np.where((sizes.gradients > 1) & ~held, part.elements * gradient_bytes(job)[1], 0.0)
    summed = np.where(fsdp & (sizes.replicas > reduced), scattered / reduced, 0.0)
    first = np.where((source > 1) & ~(held & (sizes.parameters == 1)), _ahead(job, part.sharded), 0.0)
    anew = np.where(sizes.secondary > 0, part.anew, 0.0)
    backward = (part.sharded - part.kept + part.again - anew) * law.gathered
    second = np.where(sizes.parameters > 1, backward, 0.0)
    others, calls = sizes.replicas / reduced, part.count + part.small_count
    anew_calls = np.where(sizes.secondary > 0, part.anew_count, 0.0)
    gathers = part.count - part.kept_count + part.again_count - anew_calls
    filled = scattered_seconds(job, scattered) + loop_seconds(job, calls, reduced)
    before = np.where(sizes.parameters > 1, filled, 0.0)
    return [
        _Request("gradients", "micro_reduce", "reduce_scatter", 1.0, reduced, scattered, calls, None, before),
        _Request("gradients of other replicas", "micro_reduce", "all_reduce", reduced, others, summed, calls),
        _Request(USED, "forward_gather", "all_gather", 1.0, source, first, part.count),
        _Request(USED, "backward_gather", "all_gather", 1.0, back, second, gathers),
        _Request(USED, "backward_gather", "all_gather", 1.0, source, _ahead(job, anew), anew_calls),
    ]


def _ahead(job: Job, elements: FloatArray) -> FloatArray:
    """Bytes of parameters as forward gathers them."""
    quantised = job.training.parameter_gather_bytes
    law = job.framework.state_law(job.training.precision)
    return elements * (law.gathered if quantised is None else quantised)


def _in_step(
    job: Job, part: Part, sizes: GroupSizes, calls: FloatArray | float, held: BoolArray
) -> list[_Request]:
    """Collectives of one step: after its last backward, and before its first forward."""
    law, fsdp = job.framework.state_law(job.training.precision), job.framework.shard_runtime != "zero"
    reduced, often = _reduced(law, sizes), (sizes.gradients > 1) & ~held
    travelling = part.elements * gradient_bytes(job)[1]
    once = np.where(~often & (reduced > 1), travelling, 0.0)
    summed = np.where((sizes.replicas > reduced) & ~(fsdp & often), travelling / reduced, 0.0)
    target = parameter_shards(job, sizes)
    updated = np.where(sizes.optimizer > target, part.elements * law.gathered / target, 0.0)
    kept = np.where(held & (target > 1) & (sizes.parameters == 1), _ahead(job, part.elements), 0.0)
    small = np.where(sizes.parameters > 1, part.small * law.gathered, 0.0)
    others, wider = sizes.replicas / reduced, sizes.optimizer / target
    return [
        _Request("gradients", "step_reduce", "reduce_scatter", 1.0, reduced, once, calls),
        _Request("gradients of other replicas", "step_reduce", "all_reduce", reduced, others, summed, calls),
        _Request(UPDATED, "step_gather", "all_gather", target, wider, updated, calls),
        _Request(USED, "step_gather", "all_gather", 1.0, target, kept, calls),
        _Request(SMALL, "step_gather", "all_gather", 1.0, target, small, 1.0, part.small_count),
    ]


def _reduced(law: StateLaw, sizes: GroupSizes) -> FloatArray:
    """Ranks that gradients are scattered over."""
    return sizes.gradients if law.sums_whole else np.maximum(sizes.gradients, sizes.optimizer)


def _priced(job: Job, asked: Sequence[_Asked]) -> Iterator[Flow]:
    """Requests of the same collective, in their order."""
    sizes = [np.maximum(np.round(one.request.size), 1).astype(np.int64) for one in asked]
    firsts = [
        np.broadcast_to(one.request.first, size.shape).astype(np.int64)
        for one, size in zip(asked, sizes, strict=True)
    ]
    members = Members(
        *(np.concatenate([getattr(one.members, item.name) for one in asked]) for item in fields(Members))
    )
    per_call = [one.request.nbytes / np.maximum(one.request.calls, 1.0) for one in asked]
    first, nbytes = np.concatenate(firsts), np.concatenate(per_call)
    reach = reach_of(job, members, first, np.concatenate(sizes))
    cost = collective_cost(asked[0].request.collective, nbytes, reach, job.cluster)
    rows = len(sizes[0])
    for place, one in enumerate(asked):
        own = slice(place * rows, (place + 1) * rows)
        yield _flow(job, one, first[own], nbytes[own], reach.take(own), cost.take(own))


def _flow(
    job: Job, asked: _Asked, first: IntArray, per_call: FloatArray, reach: Spread, cost: CollectiveCost
) -> Flow:
    request = asked.request
    moves = request.nbytes > 0
    if np.any(request.before_s):
        each = request.before_s / np.maximum(request.calls, 1.0)
        cost = replace(cost, seconds=cost.seconds + each, latency_s=cost.latency_s + each)
    return Flow(
        what=request.what,
        axis=asked.axis,
        occasion=request.occasion,
        collective=request.collective,
        first=first,
        ranks=reach.size.astype(np.float64),
        nbytes=per_call,
        calls=np.where(moves, request.calls, 0.0),
        seconds=np.where(moves, cost.seconds * request.calls, 0.0),
        copies_s=_copies(job, request),
        spread=reach,
        cost=cost,
    )


def _copies(job: Job, request: _Request) -> FloatArray:
    """Seconds of what brings parameters and gradients into and out of the buffers of collectives between the passes, (rows,).

    Of FSDP2 both run on the stream of the passes, so nothing hides them: a gathered buffer is cut into parameters (read and
    written), and gradients are put together rank by rank, in the type in which they travel (foreach_all_gather_copy_out and
    foreach_reduce_scatter_copy_in, torch/distributed/fsdp/_fully_shard/_fsdp_collectives.py). FSDP1's flat parameters and
    gradients lie in such buffers already. The first releases of DeepSpeed's stage 3 hold up the passes while they gather.
    """
    scattered = request.collective == "reduce_scatter"
    if job.framework.stage_three is not None and request.collective == "all_gather":
        tensors = request.calls if request.tensors is None else request.tensors
        stalled = gathered_seconds(job, request.nbytes) + loop_seconds(job, tensors, request.size)
        return np.where(request.nbytes > 0, stalled, 0.0)
    if job.framework.shard_runtime != "fsdp2" or not (scattered or request.collective == "all_gather"):
        return np.zeros_like(request.nbytes)
    law = job.framework.state_law(job.training.precision)
    other = law.gathered / gradient_bytes(job)[1] if scattered else 1.0
    return memory_bound_seconds((1.0 + other) * request.nbytes, job.cluster.accelerator)
