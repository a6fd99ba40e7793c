"""Which devices act alike, so that the simulator runs one of each kind. Docs: docs/simulator.md.

Devices are coloured by what is known to differ (pipeline rank, speed, state of their links), and colours are split until
all devices of one colour meet the same colours in each of their groups and along their pipeline: the coarsest equitable
partition (colour refinement; Berkholz, Bonsma, Grohe, arXiv 1509.08251). Devices of one colour then go through the same
step: they start alike, and whatever they wait for is alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from planner.layouts.groups import group_array
from planner.layouts.layout import Layout, Shard
from planner.simulator.device_groups import device_groups

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Merge = Literal["auto", "none"]

IDLE = -1
"""``Actors.of_device`` of a device that the layout does not use."""

_MEETING_AXES = ("tp", "ulysses", "ring", "dp_cp", "etp", "ep", "edp")
"""Axes along which collectives run; cp and dp alone have none (``ulysses``, ``ring`` and ``dp_cp`` do)."""


@dataclass(frozen=True, eq=False)
class Actors:
    """The kinds of devices that a simulation tells apart.

    Args:
        device: (actors,), one device of each kind, ascending; its links stand for those of all.
        of_device: (devices,), the actor of each device, ``IDLE`` for those outside the layout.
        weight: (actors,), devices of each kind.
        pipeline_rank: (actors,).
        speed: (actors,), computation runs at this multiple of the nominal speed.
        pipeline: (actors, pipeline ranks), the actors that stand in one pipeline with the actor's device.
    """

    device: Integers
    of_device: Integers
    weight: Integers
    pipeline_rank: Integers
    speed: Floats
    pipeline: Integers

    def __len__(self) -> int:
        return len(self.device)

    def groups(self, devices: Integers) -> tuple[tuple[int, ...], ...]:
        """The distinct sets of actors behind device groups, each ascending.

        Args:
            devices: (groups, members), see ``device_groups``.
        """
        rows = np.sort(self.of_device[devices], axis=1)
        _, first = np.unique(_row_codes(rows), return_index=True)
        return tuple(sorted({tuple(np.unique(row).tolist()) for row in rows[first]}))

    def along_pipeline(self, actor: int, rank: int) -> int:
        """The actor of the device with the same place in all axes but pp, at that pipeline rank."""
        return int(self.pipeline[actor, rank])


def partition(
    layout: Layout,
    devices: int,
    *,
    speed: Floats | None = None,
    link_factors: Floats | None = None,
    merge: Merge = "auto",
    meetings: Iterable[Integers] = (),
) -> Actors:
    """The actors of a layout.

    Args:
        devices: of the job; the layout may use fewer (the first ones).
        speed: (devices,), multiples of the nominal speed; None: all nominal.
        link_factors: (devices, links), share of each link's capacity that is left; None: all whole.
        merge: ``none`` keeps every device apart.
        meetings: (groups, members) arrays of further device groups that exchange something, each device in one group.

    Raises:
        ValueError: the layout needs more devices.
    """
    columns = group_array(layout, "pp")
    if columns.size > devices:
        raise ValueError(f"the layout needs {columns.size} devices, there are {devices}")
    used = columns.size
    rank = np.empty(used, dtype=np.int64)
    rank[columns] = np.arange(layout.pp)
    pace = np.ones(used) if speed is None else np.asarray(speed, dtype=np.float64)[:used]
    if merge == "none":
        colour = np.arange(used, dtype=np.int64)
    else:
        start: list[NDArray[Any]] = [rank, pace]
        if link_factors is not None:
            start += list(np.asarray(link_factors, dtype=np.float64)[:used].T)
        colour = _refined(_joint(start), [*_meetings(layout), *meetings], columns)
    return _actors(colour, columns, rank, pace, devices)


def _actors(colour: Integers, columns: Integers, rank: Integers, pace: Floats, devices: int) -> Actors:
    """Actors numbered by their first device."""
    _, first, inverse, weight = np.unique(colour, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    of_device = np.full(devices, IDLE, dtype=np.int64)
    of_device[: len(colour)] = number[inverse]
    device = first[order].astype(np.int64)
    column_of = np.empty(len(colour), dtype=np.int64)
    column_of[columns] = np.arange(len(columns))[:, None]
    return Actors(
        device=device,
        of_device=of_device,
        weight=weight[order].astype(np.int64),
        pipeline_rank=rank[device],
        speed=pace[device],
        pipeline=of_device[columns[column_of[device]]],
    )


def _refined(colour: Integers, meetings: list[Integers], columns: Integers) -> Integers:
    """The coarsest refinement whose classes meet equal multisets of classes in groups, equal sequences along columns."""
    while True:
        signature = [colour]
        signature += [_spread_code(np.sort(colour[groups], axis=1), groups) for groups in meetings]
        if columns.shape[1] > 1:
            signature.append(_spread_code(colour[columns], columns))
        finer = _joint(signature)
        if finer.max() == colour.max():
            return finer
        colour = finer


def _spread_code(rows: Integers, groups: Integers) -> Integers:
    """(devices,): a code of the row of each device's group."""
    codes = np.empty(groups.size, dtype=np.int64)
    codes[groups] = _row_codes(rows)[:, None]
    return codes


def _row_codes(rows: Integers) -> Integers:
    """(rows,): equal numbers for equal rows."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    return np.unique(whole.ravel(), return_inverse=True)[1].astype(np.int64)


def _joint(columns: Sequence[NDArray[Any]]) -> Integers:
    """(rows,): equal numbers, from 0 without gaps, where all columns are equal."""
    joint = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, codes = np.unique(column, return_inverse=True)
        joint = np.unique(joint * len(values) + codes, return_inverse=True)[1].astype(np.int64)
    return joint


def _meetings(layout: Layout) -> Iterator[Integers]:
    """Groups in which devices wait for each other: whole axes, and what shard groups make of dp·cp and edp."""
    for axis in _MEETING_AXES:
        groups = group_array(layout, axis)
        if groups.shape[1] > 1:
            yield groups
    for axis, ranks in (("dp_cp", layout.dp * layout.cp), ("edp", layout.edp)):
        for first, size in _shard_groups(layout.shard, ranks):
            if 1 < size < ranks and ranks % (first * size) == 0:
                yield device_groups(layout, axis, first=first, size=size)


def _shard_groups(shard: Shard, ranks: int) -> set[tuple[int, int]]:
    """(first, size) of the groups that exchange gradients and parameters, see ``costs.replicas``."""
    parameters, optimizer = min(shard.parameters, ranks), min(shard.optimizer, ranks)
    reduced = max(min(shard.gradients, ranks), optimizer)
    gathered = {(1, reduced), (1, parameters), (1, min(shard.parameters_secondary, ranks))}
    return gathered | {(reduced, ranks // reduced), (parameters, max(optimizer // parameters, 1))}
