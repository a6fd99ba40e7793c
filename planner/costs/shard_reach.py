"""How shard groups lie on the network: every so-manieth rank of a group of one or two mesh axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.jobs.types import Job
from planner.layouts.layouts import IntArray
from planner.layouts.mesh import Spread, spread


@dataclass(frozen=True)
class Members:
    """A two-axis group (inner axis, outer axis) of which the first n ranks form a shard group."""

    inner: IntArray
    inner_stride: IntArray
    outer: IntArray
    outer_stride: IntArray


def two_axes(a: IntArray, a_stride: IntArray, b: IntArray, b_stride: IntArray) -> Members:
    """The axis with the smaller stride inside."""
    swap = b_stride < a_stride
    return Members(
        np.where(swap, b, a),
        np.where(swap, b_stride, a_stride),
        np.where(swap, a, b),
        np.where(swap, a_stride, b_stride),
    )


def reach_of(job: Job, members: Members, first: IntArray, size: IntArray) -> Spread:
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
