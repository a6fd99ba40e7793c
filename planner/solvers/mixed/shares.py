"""Groups as replicas of different speed: whole numbers of sequences per group, exactly the best ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import IntArray, Layouts, distinct_rows
from planner.layouts.space.choices import LARGEST_MICRO_BATCH
from planner.layouts.space.space import search_space
from planner.layouts.variants import divisors
from planner.solvers.bounds import require_closed_forms, time_lower_bound
from planner.solvers.mixed.pipelines import Limits, Progress
from planner.solvers.sweep import SweepOptions, sweep_space

MANY_UNITS = 1024
"""Units that the batch is dealt out in: about as many at most, unless only far larger units divide it."""

_ROWS = 256
"""Totals whose splits are compared at once."""

_PER_DEVICE = 16
"""Sequences per device of a batch for which no mesh and no schedule of one group is left out."""

_BATCH_KNOBS = ("micro_batch", "grad_accum")

_MANY = 10**9
"""Micro-batches beside which fill and drain of a pipeline are nothing."""

_ASYMPTOTIC = 1.0 - 1e-5
"""Covers that nothing, for pipelines of up to 10,000 ranks."""

_RATE_KNOBS = (
    "tp",
    "sp",
    "ulysses",
    "ring",
    "pp",
    "vpp",
    "ep",
    "etp",
    "dp",
    "partition",
    "axis_order",
    "cp_gather",
)


def share_unit(global_batch: int) -> int:
    """Sequences of one unit: shares are whole numbers of units, 1 for batches of up to ``MANY_UNITS``."""
    wanted = -(-global_batch // MANY_UNITS)
    unit = next(number for number in divisors(global_batch) if number >= wanted)
    return unit if unit <= 8 * wanted else 1


@dataclass
class GroupTimes:
    """Shortest step of one group for any share of the batch, computed when asked for; the caller owns it for one search.

    Args:
        job: on the group, with the whole batch. unit: sequences per unit.
        prices: of blocks, for every mesh and micro-batch.
        seconds: (units + 1,), bounds until they are computed.
        layouts: units -> the best layout. evaluated: candidates priced.
    """

    job: Job
    unit: int
    prices: Prices
    seconds: FloatArray
    known: np.ndarray = field(repr=False)
    layouts: dict[int, Layout] = field(default_factory=dict)
    candidates: int = 0
    evaluated: int = 0

    @staticmethod
    def of(job: Job) -> GroupTimes:
        """Nothing computed yet: every share takes at least its sequences at the best rate of the group."""
        unit = share_unit(job.training.global_batch)
        units = np.arange(job.training.global_batch // unit + 1)
        rows = _rate_rows(job)
        prices = price_model(job, rows)
        seconds: FloatArray = units.astype(np.float64) * (
            unit * _least_seconds_per_sequence(job, rows, prices)
        )
        seconds[0] = np.inf
        return GroupTimes(job, unit, prices, seconds, np.zeros(len(units), dtype=np.bool_))

    def compute(self, units: int) -> None:
        """The exact step of a share: the best layout of the group's whole search space for that batch."""
        if self.known[units]:
            return
        self.known[units] = True
        self.seconds[units] = np.inf
        share = with_batch(self.job, units * self.unit)
        space = search_space(share)
        if not space.size:
            return
        require_closed_forms(share, space.outer)
        sweep = sweep_space(share, space, SweepOptions(top=1, pareto=False), "step_time", prices=self.prices)
        self.candidates += space.size
        self.evaluated += sweep.evaluated
        points = sweep.ranking.points
        if len(points):
            self.seconds[units] = float(points.time_s[0])
            self.layouts[units] = points.layouts.row(0)


def with_batch(job: Job, sequences: int) -> Job:
    """The job with another global batch."""
    return replace(job, training=replace(job.training, global_batch=sequences))


def _rate_rows(job: Job) -> Layouts:
    """Every mesh of the group with every micro-batch, in steps that are so long that their ends do not count."""
    outer = search_space(with_batch(_any_batch(job), job.devices * _PER_DEVICE)).outer
    first, _ = distinct_rows([outer.columns[name] for name in _RATE_KNOBS], len(outer))
    rows = outer.take(np.repeat(first, LARGEST_MICRO_BATCH))
    sizes = np.tile(np.arange(1, LARGEST_MICRO_BATCH + 1), len(first))
    many = np.full(len(rows), _MANY)
    return replace(rows, columns={**rows.columns, "micro_batch": sizes, "micro_batches": many})


def _any_batch(job: Job) -> Job:
    """The job without the search options that depend on the batch."""
    options = job.search
    fix, limit, allow = (
        {knob: value for knob, value in part.items() if knob not in _BATCH_KNOBS}
        for part in (options.fix, options.limit, options.allow)
    )
    return replace(job, search=replace(options, fix=fix, limit=limit, allow=allow))


def _least_seconds_per_sequence(job: Job, rows: Layouts, prices: Prices) -> float:
    """Seconds that a group cannot go below per sequence, whatever the batch; infinite where no layout is legal.

    Passes of the slowest rank in long steps.
    """
    bound = time_lower_bound(job, rows, prices)
    each = bound / (_MANY * rows.columns["micro_batch"] * rows.columns["dp"])
    return float(np.min(each, initial=np.inf)) * _ASYMPTOTIC


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
    while True:
        units, value = _least_maximum({place: item.seconds for place, item in times.items()})
        open_ones = [place for place, count in units.items() if not times[place].known[count]]
        if not np.isfinite(value) or value + sum_s >= hopeless_s:
            return ShareSearch(None, value + sum_s)
        if not open_ones:
            return ShareSearch(_shares(times, units, sum_s, value), value + sum_s)
        if limits.late:
            return ShareSearch(_best_known(times, sum_s), value + sum_s)
        first = min(
            open_ones, key=lambda place: len(times[place].layouts)
        )  # it may be one that nothing fits on
        times[first].compute(units[first])
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
