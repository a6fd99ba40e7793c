"""Gradient and parameter traffic of the data-parallel axes: which collectives a sharding of states implies, and their time.

One rule covers ZeRO 0-3, FSDP, HSDP, hpZ and three-level partitioning: gradients are reduced into the largest shard group
of gradients and optimizer state, summed over the remaining replicas, and parameters are gathered wherever they are used
with a wider placement than they are stored in (arXiv 1910.02054, 2304.11277, 2306.10209, 2501.04266).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.costs.collectives import CollectiveCost, collective_cost
from planner.costs.sizes import FloatArray
from planner.costs.states import Groups, gradient_bytes
from planner.costs.transfers import strides_of
from planner.jobs.types import Job
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.mesh import Spread, spread

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
"""Knobs that the seconds of this traffic depend on, besides what the stage owns."""

Occasion = Literal["forward_gather", "backward_gather", "micro_reduce", "step_reduce", "step_gather"]


@dataclass(frozen=True)
class Flow:
    """One collective of the data-parallel axes, shape (rows,).

    ``calls`` happen on each occasion (every micro-batch for gathers and micro_reduce, every step otherwise);
    ``seconds`` is for all calls of one occasion.
    """

    what: str
    axis: Literal["dp", "edp"]
    occasion: Occasion
    collective: str
    ranks: FloatArray
    nbytes: FloatArray
    calls: FloatArray
    seconds: FloatArray
    spread: Spread
    cost: CollectiveCost


@dataclass(frozen=True)
class _Members:
    """A two-axis group (inner axis, outer axis) of which the first n ranks form a shard group."""

    inner: IntArray
    inner_stride: IntArray
    outer: IntArray
    outer_stride: IntArray


@dataclass(frozen=True)
class _Request:
    what: str
    axis: Literal["dp", "edp"]
    occasion: Occasion
    collective: Literal["all_reduce", "reduce_scatter", "all_gather"]
    first: FloatArray
    size: FloatArray
    nbytes: FloatArray
    calls: FloatArray


def replica_flows(
    job: Job, layouts: Layouts, groups: Groups, dense: FloatArray, expert: FloatArray, units: int
) -> tuple[Flow, ...]:
    """All data-parallel collectives of one pipeline rank.

    Args:
        layouts: rows (usually distinct combinations of ``TRAFFIC_KNOBS``).
        groups: shard groups of the rows.
        dense, expert: local elements of the rank's parameters.
        units: separately gathered parts (layers) of the rank.
    """
    strides = strides_of(layouts)
    c = layouts.columns
    attention = _two_axes(layouts.cp, strides["cp"], c["dp"], strides["dp"])
    one = np.ones(len(layouts), dtype=np.int64)
    experts = _Members(layouts.edp, strides["edp"], one, one)
    flows: list[Flow] = []
    for members, requests in (
        (
            attention,
            _requests(
                job,
                "dp",
                dense,
                groups.parameters,
                groups.gradients,
                groups.optimizer,
                groups.replicas,
                groups.secondary,
                units,
            ),
        ),
        (
            experts,
            _requests(
                job,
                "edp",
                expert,
                groups.expert_parameters,
                groups.expert_gradients,
                groups.expert_optimizer,
                groups.expert_replicas,
                np.zeros(len(layouts)),
                units,
            ),
        ),
    ):
        flows.extend(
            _priced(job, members, request) for request in requests if bool((request.nbytes > 0).any())
        )
    return tuple(flows)


def _requests(
    job: Job,
    axis: Literal["dp", "edp"],
    elements: FloatArray,
    parameters: FloatArray,
    gradients: FloatArray,
    optimizer: FloatArray,
    replicas: FloatArray,
    secondary: FloatArray,
    units: int,
) -> list[_Request]:
    law = job.framework.state_law(job.training.precision)
    _, travelling = gradient_bytes(job)
    zero, one = np.zeros_like(elements), np.ones_like(elements)
    reduced = np.maximum(gradients, optimizer)
    per_micro = gradients > 1
    whole = elements * travelling
    pieces = float(max(units, 1))
    bucket = job.training.overlap.get("bucket_bytes", job.framework.buffers.bucket_bytes)
    buckets = np.maximum(np.ceil(whole / bucket), 1.0) if bucket else pieces * one
    gathered = elements * law.gathered
    quantised = job.training.parameter_gather_bytes
    ahead = gathered if quantised is None else elements * quantised
    back = np.where(secondary > 0, secondary, parameters)

    def where(condition: np.ndarray, value: FloatArray) -> FloatArray:
        return np.where(condition, value, zero)

    apart = replicas > reduced
    sharded = parameters > 1
    once = ~per_micro & (reduced > 1)
    sums = "gradients of other replicas"
    return [
        _Request(
            "gradients",
            axis,
            "micro_reduce",
            "reduce_scatter",
            one,
            reduced,
            where(per_micro, whole),
            pieces * one,
        ),
        _Request(
            "gradients", axis, "step_reduce", "reduce_scatter", one, reduced, where(once, whole), buckets
        ),
        _Request(
            sums,
            axis,
            "step_reduce",
            "all_reduce",
            reduced,
            replicas / reduced,
            where(apart, whole / reduced),
            buckets,
        ),
        _Request(
            "parameters",
            axis,
            "forward_gather",
            "all_gather",
            one,
            parameters,
            where(sharded, ahead),
            pieces * one,
        ),
        _Request(
            "parameters",
            axis,
            "backward_gather",
            "all_gather",
            one,
            back,
            where(sharded, gathered),
            pieces * one,
        ),
        _Request(
            "updated parameters",
            axis,
            "step_gather",
            "all_gather",
            parameters,
            optimizer / parameters,
            where(optimizer > parameters, gathered / parameters),
            buckets,
        ),
    ]


def _two_axes(a: IntArray, a_stride: IntArray, b: IntArray, b_stride: IntArray) -> _Members:
    """The axis with the smaller stride inside."""
    swap = b_stride < a_stride
    return _Members(
        np.where(swap, b, a),
        np.where(swap, b_stride, a_stride),
        np.where(swap, a, b),
        np.where(swap, a_stride, b_stride),
    )


def _priced(job: Job, members: _Members, request: _Request) -> Flow:
    reach = _reach(
        job, members, request.first.astype(np.int64), np.maximum(np.round(request.size), 1).astype(np.int64)
    )
    per_call = request.nbytes / request.calls
    cost = collective_cost(request.collective, per_call, reach, job.cluster)
    seconds = np.where(request.nbytes > 0, cost.seconds * request.calls, 0.0)
    return Flow(
        request.what, request.axis, request.occasion, request.collective, reach.size.astype(np.float64), per_call,
        np.where(request.nbytes > 0, request.calls, 0.0), seconds, reach, cost,
    )  # fmt: skip


def _reach(job: Job, members: _Members, first: IntArray, size: IntArray) -> Spread:
    """Spread of every ``first``-th rank, ``size`` of them, of a two-axis group.

    Where the two axes are not adjacent the group spans at most the product of what each part spans.
    """
    adjacent = (members.inner_stride * members.inner == members.outer_stride) | (members.outer == 1)
    start_inner = first < members.inner
    inside = np.where(start_inner, np.minimum(size, np.maximum(members.inner // np.maximum(first, 1), 1)), 1)
    simple = adjacent | (size <= inside)
    stride = np.where(
        start_inner | adjacent, members.inner_stride * first, members.outer_stride * (first // members.inner)
    )
    size_simple = np.where(simple, size, 1)
    near = spread(size_simple, np.where(simple, stride, 1), job.cluster)
    if bool(simple.all()):
        return near
    inner = spread(
        np.where(simple, 1, inside), np.where(simple, 1, members.inner_stride * first), job.cluster
    )
    rest = np.maximum(size // np.maximum(inside, 1), 1)
    outer = spread(np.where(simple, 1, rest), np.where(simple, 1, members.outer_stride), job.cluster)
    product = np.minimum(inner.domains * outer.domains, size[:, None])
    return Spread(size, stride, near.devices, np.where(simple[:, None], near.domains, product))


@dataclass(frozen=True)
class Exposed:
    """What of the data-parallel traffic is not hidden, seconds per step, shape (rows,)."""

    by_axis: Mapping[str, FloatArray]
    hidden_s: FloatArray


def exposed_traffic(
    job: Job,
    seconds: Mapping[tuple[str, Occasion], FloatArray],
    forward_spare: FloatArray,
    backward_spare: FloatArray,
    micro_batches: FloatArray,
) -> Exposed:
    """Hides the traffic behind what computation is left, once.

    Gathers hide behind the pass that they serve and per-micro-batch reductions behind backward, every micro-batch; the
    step's reduction hides behind the last backward and the gather of updated parameters behind the next first forward.

    Args:
        seconds: (axis, occasion) -> seconds of one occasion.
        forward_spare, backward_spare: computation of one micro-batch that nothing hides behind yet.
    """
    hidden, overlap = job.framework.hidden, job.training.overlap
    gather = float(overlap.get("dp_gather", hidden.dp_gather))
    reduce = float(overlap.get("dp_reduce", hidden.dp_reduce))
    shares: Mapping[Occasion, float] = {
        "forward_gather": gather, "backward_gather": gather, "micro_reduce": reduce, "step_reduce": reduce, "step_gather": gather,
    }  # fmt: skip
    zero = np.zeros_like(forward_spare)
    result = {"dp": zero, "edp": zero}
    total_hidden = zero
    first_left, last_left = forward_spare, backward_spare
    left = {"forward": forward_spare, "backward": backward_spare}
    in_passes: tuple[Occasion, ...] = ("forward_gather", "backward_gather", "micro_reduce")
    for occasion in in_passes:
        side = "forward" if occasion == "forward_gather" else "backward"
        for axis in ("dp", "edp"):
            time = seconds.get((axis, occasion), zero)
            inside = np.minimum(shares[occasion] * time, left[side])
            left[side] = left[side] - inside
            result[axis] = result[axis] + (time - inside) * micro_batches
            total_hidden = total_hidden + inside * micro_batches
    first_left, last_left = left["forward"], left["backward"]
    in_step: tuple[Occasion, ...] = ("step_reduce", "step_gather")
    for occasion in in_step:
        for axis in ("dp", "edp"):
            time = seconds.get((axis, occasion), zero)
            window = last_left if occasion == "step_reduce" else first_left
            inside = np.minimum(shares[occasion] * time, window)
            if occasion == "step_reduce":
                last_left = last_left - inside
            else:
                first_left = first_left - inside
            result[axis] = result[axis] + time - inside
            total_hidden = total_hidden + inside
    return Exposed(result, total_hidden)
