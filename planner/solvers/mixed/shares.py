"""Groups as replicas of different speed: whole numbers of sequences per group, exactly the best ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import FloatArray
from planner.layouts.layout import Layout
from planner.layouts.layouts import IntArray
from planner.solvers.mixed.group_times import GroupTimes
from planner.solvers.mixed.pipelines import Limits, Progress

_ROWS = 256
"""Totals whose splits are compared at once."""


@dataclass(frozen=True)
class Shares:
    """The best shares of some groups.

    Args:
        sequences: group -> sequences per step, adding up to the batch; ``layouts``: of each group.
        group_s: group -> seconds of its own step. sum_s: of the sum of gradients over the groups.
        step_s: the longest of the groups' steps and that sum.
    """

    sequences: Mapping[int, int]
    layouts: Mapping[int, Layout]
    group_s: Mapping[int, float]
    sum_s: float
    step_s: float


@dataclass(frozen=True)
class ShareSearch:
    """Outcome: ``best`` is None where nothing fits or all is hopeless; ``lower_bound_s`` holds for all shares."""

    best: Shares | None
    lower_bound_s: float


def best_shares(
    times: Mapping[int, GroupTimes],
    sum_s: float,
    limits: Limits,
    *,
    hopeless_s: float = np.inf,
    progress: Progress | None = None,
) -> ShareSearch:
    """Shares of all of the groups that make the longest of their steps as short as possible.

    The best shares by what is known (bounds or steps) are found exactly; while some of them are bounds, these are computed.
    As bounds never exceed steps, the first best shares that hold no bound are the best of all.

    Args:
        times: by group; all have the same batch and unit.
        sum_s: seconds of the sum of gradients over the groups.
        hopeless_s: stop without shares once no step can be shorter than this.
    """
    best_s = hopeless_s - sum_s
    while True:
        units, value = _least_maximum({place: item.seconds for place, item in times.items()})
        if not np.isfinite(value) and not any(item.beyond for item in times.values()):
            return ShareSearch(None, np.inf)
        if not np.isfinite(value) or value + sum_s >= hopeless_s:
            return ShareSearch(None, min(value + sum_s, hopeless_s))
        open_ones = [place for place, count in units.items() if not times[place].known[count]]
        if not open_ones:
            return ShareSearch(_shares(times, units, sum_s, value), value + sum_s)
        if limits.late:
            return ShareSearch(_best_known(times, sum_s), value + sum_s)
        vague = [place for place in open_ones if not times[place].bounded[units[place]]]
        for place in vague:
            times[place].bound(units[place])
        if not vague:
            first = min(
                open_ones, key=lambda place: len(times[place].layouts)
            )  # it may be one that nothing fits on
            times[first].compute(units[first], best_s)
            if len(open_ones) == 1:
                best_s = min(
                    best_s, max(float(times[place].seconds[count]) for place, count in units.items())
                )
        if progress is not None:
            done = sum(int(item.known.sum()) for item in times.values())
            progress(0.5, f"{done:,} shares of the batch priced")


def proportional_shares(times: Mapping[int, GroupTimes], sum_s: float) -> Shares | None:
    """Shares by numbers of devices (largest remainders), as if all devices were equal; None where that is not legal."""
    total = next(iter(times.values())).seconds.size - 1
    sizes = np.array([item.job.devices for item in times.values()], dtype=np.float64)
    exact = total * sizes / sizes.sum()
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    units = {place: int(count) for place, count in zip(times, counts, strict=True)}
    for place, count in units.items():
        times[place].compute(count)
    value = max(float(times[place].seconds[count]) for place, count in units.items())
    return _shares(times, units, sum_s, value) if np.isfinite(value) else None


def _best_known(times: Mapping[int, GroupTimes], sum_s: float) -> Shares | None:
    """The best shares of those whose steps are all computed."""
    known = {place: np.where(item.known, item.seconds, np.inf) for place, item in times.items()}
    units, value = _least_maximum(known)
    return _shares(times, units, sum_s, value) if np.isfinite(value) else None


def _shares(times: Mapping[int, GroupTimes], units: Mapping[int, int], sum_s: float, value: float) -> Shares:
    return Shares(
        {place: count * times[place].unit for place, count in units.items()},
        {place: times[place].layouts[count] for place, count in units.items()},
        {place: float(times[place].seconds[count]) for place, count in units.items()},
        sum_s,
        value + sum_s,
    )


def _least_maximum(values: Mapping[int, FloatArray]) -> tuple[dict[int, int], float]:
    """Numbers of units that add up to all and make the largest value least, one group after the other; ties: fewer first."""
    places = list(values)
    reached = values[places[0]]
    totals = np.arange(len(reached))
    chosen: list[IntArray] = []
    for place in places[1:]:
        wanted = totals[-1:] if place == places[-1] else totals
        reached, choice = _joined(reached, values[place], wanted)
        chosen.append(choice)
    left, value = int(totals[-1]), float(reached[-1])
    units: dict[int, int] = {}
    for place, choice in zip(reversed(places[1:]), reversed(chosen), strict=True):
        units[place] = int(choice[-1] if place == places[-1] else choice[left])
        left -= units[place]
    units[places[0]] = left
    return units, value


def _joined(before: FloatArray, own: FloatArray, totals: IntArray) -> tuple[FloatArray, IntArray]:
    """Of each of the totals the least maximum over its splits, and the own part of the best split."""
    least, choice = np.empty(len(totals)), np.empty(len(totals), dtype=np.int64)
    part = np.arange(len(own))[None, :]
    for start in range(0, len(totals), _ROWS):
        rest = totals[start : start + _ROWS, None] - part
        largest = np.maximum(np.where(rest >= 0, before[rest], np.inf), own[None, :])
        best = np.argmin(largest, axis=1)
        least[start : start + _ROWS] = largest[np.arange(len(best)), best]
        choice[start : start + _ROWS] = best
    return least, choice
