"""The Pareto set of step time, memory and devices, kept exactly while blocks of layouts go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.costs.sizes import FloatArray
from planner.layouts.layouts import COLUMNS, IntArray, Layouts


@dataclass(frozen=True)
class Points:
    """Evaluated layouts, one row each.

    Args:
        time_s, memory_bytes: predicted; devices: used.
    """

    layouts: Layouts
    time_s: FloatArray
    memory_bytes: FloatArray
    devices: IntArray

    def __len__(self) -> int:
        return len(self.time_s)

    def take(self, rows: IntArray | NDArray[np.bool_]) -> Points:
        """The rows chosen by an index array or mask."""
        return Points(self.layouts.take(rows), self.time_s[rows], self.memory_bytes[rows], self.devices[rows])

    def ordered(self, keys: Sequence[FloatArray | IntArray]) -> IntArray:
        """Row numbers sorted by the keys, first key first; ties by the layouts' columns, so the order is total."""
        columns = [self.layouts.columns[name] for name in COLUMNS]
        return np.lexsort((*reversed(columns), *reversed(keys)))


def join(first: Points, second: Points) -> Points:
    """Rows of both; their layouts index the same interned objects."""
    columns = {
        name: np.concatenate([first.layouts.columns[name], second.layouts.columns[name]]) for name in COLUMNS
    }
    return Points(
        replace(first.layouts, columns=columns),
        np.concatenate([first.time_s, second.time_s]),
        np.concatenate([first.memory_bytes, second.memory_bytes]),
        np.concatenate([first.devices, second.devices]),
    )


@dataclass(frozen=True)
class Frontier:
    """Points that no other point equals or beats in time, memory and devices at once.

    With a price per device and hour the cost of a step grows with time x devices, so it needs no axis of its own.
    Of equal points the one with the smaller knobs stays.
    """

    points: Points

    def beaten(self, time_s: FloatArray, memory_bytes: FloatArray, devices: IntArray) -> NDArray[np.bool_]:
        """Rows with a point here that is strictly faster and needs no more memory and devices.

        Given lower bounds of time and memory, a True row cannot belong to the Pareto set.
        """
        result = np.zeros(len(time_s), dtype=np.bool_)
        for count in np.unique(devices):
            usable = self.points.devices <= count
            if not usable.any():
                continue
            order = np.argsort(self.points.memory_bytes[usable], kind="stable")
            memory = self.points.memory_bytes[usable][order]
            fastest = np.minimum.accumulate(self.points.time_s[usable][order])
            rows = devices == count
            place = np.searchsorted(memory, memory_bytes[rows], side="right") - 1
            result[rows] = (place >= 0) & (fastest[np.maximum(place, 0)] < time_s[rows])
        return result

    def add(self, points: Points) -> Frontier:
        """The frontier of these points and more."""
        fresh = points.take(~self.beaten(points.time_s, points.memory_bytes, points.devices))
        if not len(fresh):
            return self
        return Frontier(_front(join(self.points, _front(fresh))))


def _front(points: Points) -> Points:
    """The non-dominated points; by ascending devices, then memory."""
    kept: list[IntArray] = []
    for count in np.unique(points.devices):
        same = np.flatnonzero(points.devices == count)
        mine = points.take(same)
        order = mine.ordered((mine.memory_bytes, mine.time_s))
        time = mine.time_s[order]
        before = np.concatenate([[np.inf], np.minimum.accumulate(time)[:-1]])
        best = same[order[time < before]]
        for smaller in kept:
            best = best[~_matched(points.take(best), points.take(smaller))]
        if len(best):
            kept.append(best)
    return points.take(np.concatenate(kept))


def _matched(points: Points, rivals: Points) -> NDArray[np.bool_]:
    """Points with a rival that is as fast and needs as little memory (rivals: one front, by ascending memory)."""
    place = np.searchsorted(rivals.memory_bytes, points.memory_bytes, side="right") - 1
    time = np.minimum.accumulate(rivals.time_s)
    matched: NDArray[np.bool_] = (place >= 0) & (time[np.maximum(place, 0)] <= points.time_s)
    return matched
