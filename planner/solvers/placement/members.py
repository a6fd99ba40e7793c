"""Which ranks take part in a communication row of a plan."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from planner.costs.replicas import UPDATED
from planner.jobs.prediction import CommunicationRow
from planner.layouts.groups import group_array
from planner.layouts.layout import Layout

Ranks = NDArray[np.int64]

OTHERS = "gradients of other replicas"


def row_groups(layout: Layout, row: CommunicationRow) -> Ranks:
    """(groups, ``row.ranks``): all groups of the layout that make the row's transfer, whatever pipeline rank they are on."""
    whole = _axis_groups(layout, row)
    size = whole.shape[1]
    if row.ranks >= size or size % row.ranks:
        return whole
    first = min(_first(layout, row, size), size // row.ranks)
    if size % (first * row.ranks):
        return whole
    parts = whole.reshape(len(whole), size // (first * row.ranks), row.ranks, first)
    return parts.transpose(0, 1, 3, 2).reshape(-1, row.ranks)


def _axis_groups(layout: Layout, row: CommunicationRow) -> Ranks:
    if row.axis == "pp":
        return group_array(layout, "pp")[:, [0, -1]]  # the tied tables of the first and the last rank
    if row.axis == "dp":
        return group_array(layout, "dp_cp")
    if row.axis != "cp" or row.ranks == layout.cp:
        return group_array(layout, row.axis)
    return group_array(layout, "ulysses" if row.collective == "all_to_all" else "ring")


def _first(layout: Layout, row: CommunicationRow, size: int) -> int:
    """The group is every so-manieth rank of its axis (``costs.replicas``)."""
    if row.what == OTHERS:
        return size // row.ranks
    return max(layout.shard.parameters, 1) if row.what == UPDATED else 1
