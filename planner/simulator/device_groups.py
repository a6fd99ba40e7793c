"""The concrete device groups behind a collective: whole groups of a mesh axis, shard groups, and replicas of a shard."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.layouts.groups import group_array
from planner.layouts.layout import Layout

Integers = NDArray[np.int64]


def device_groups(layout: Layout, axis: str, *, first: int = 1, size: int | None = None) -> Integers:
    """(groups, members): every ``first``-th rank of each group of an axis, ``size`` of them.

    A sharding splits the ``n`` ranks that hold the same weights, in mesh order, into shard groups of consecutive ranks
    (``first=1``); the ranks with equal place in theirs are replicas of one shard (``first`` = ranks of a shard group), as
    hybrid sharding defines them (arXiv 2304.11277, section 3.2.2).

    Args:
        axis: tp, ulysses, ring, cp, pp, dp, dp_cp, ep, etp or edp; members of dp_cp follow the smaller stride first.
        first: distance of neighbouring members, counted in ranks of the axis.
        size: members, default: as many as the group has.

    Raises:
        ValueError: ``first`` x ``size`` does not divide the ranks of the axis.
    """
    groups = group_array(layout, axis)
    ranks = groups.shape[1]
    members = ranks // first if size is None else size
    if members < 1 or first < 1 or ranks % (first * members):
        raise ValueError(f"{members} ranks at distance {first} do not tile {axis} groups of {ranks}")
    if members == ranks:
        return groups
    blocks = groups.reshape(-1, members, first)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, members)
