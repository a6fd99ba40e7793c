"""Shortest step of one group for any share of the batch: bounds, and the exact one where it matters."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from planner.costs.evaluate import fits
from planner.costs.prices import Prices, price_model
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import IntArray, Layouts, distinct_rows
from planner.layouts.space.choices import LARGEST_MICRO_BATCH
from planner.layouts.space.space import Space, search_space
from planner.layouts.variants import divisors
from planner.solvers.bounds import require_closed_forms, time_lower_bound
from planner.solvers.memory_bound import memory_lower_bound
from planner.solvers.queue import queue_of
from planner.solvers.sweep import SweepOptions, sweep_space

MANY_UNITS = 1024
"""Units that the batch is dealt out in: about as many at most, unless only far larger units divide it."""

_PER_DEVICE = 16
"""Sequences per device of a batch for which no mesh and no schedule of one group is left out."""

_BATCH_KNOBS = ("micro_batch", "grad_accum")

_PORTION = 1 << 13
"""Layouts inside which rows that wait are sorted; their bounds do not depend on it."""

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
        prices: of blocks, for every mesh and micro-batch; where the experts' mesh is inside, the least over its shapes. None
            where no mesh is legal, whatever the batch.
        seconds: (units + 1,), bounds until they are known. known, bounded: whether a share's step is, or its own bound.
        layouts: units -> the best layout. candidates, evaluated: layouts of the spaces that were searched, and priced ones.
        beyond: units whose step is only known to be longer than was of interest.
    """

    job: Job
    unit: int
    prices: Prices | None
    seconds: FloatArray
    known: NDArray[np.bool_]
    bounded: NDArray[np.bool_]
    layouts: dict[int, Layout] = field(default_factory=dict)
    beyond: set[int] = field(default_factory=set)
    candidates: int = 0
    evaluated: int = 0

    @staticmethod
    def of(job: Job) -> GroupTimes:
        """Nothing computed yet: every share takes at least its sequences at the best rate of the group, and no share has a step
        where the model has no room."""
        unit = share_unit(job.training.global_batch)
        units = np.arange(job.training.global_batch // unit + 1)
        nothing = np.zeros(len(units), dtype=np.bool_)
        space = _rate_space(job)
        impossible = np.full(len(units), np.inf)
        if not space.size:
            return GroupTimes(job, unit, None, impossible, ~nothing, ~nothing)
        prices = price_model(job, space.outer, least=space.closed)
        holds = _may_hold(job, space, prices)
        if not holds.any():
            return GroupTimes(job, unit, prices, impossible, ~nothing, ~nothing)
        per_sequence = _least_seconds_per_sequence(job, space.outer.take(holds), prices)
        seconds: FloatArray = units.astype(np.float64) * (unit * per_sequence)
        seconds[0] = np.inf
        return GroupTimes(job, unit, prices, seconds, nothing, nothing.copy())

    def bound(self, units: int) -> None:
        """A closer bound of a share: the best one of the meshes and micro-batches that divide it and may fit."""
        if self.bounded[units] or self.known[units]:
            return
        self.bounded[units] = True
        share, space = self._space(units)
        least = np.inf
        if space.size and self.prices is not None:
            require_closed_forms(share, space.outer)
            queue = queue_of(share, space, self.prices, "step_time", _PORTION)
            nothing = np.zeros(len(space.outer))
            fitting = fits(share, queue.memory_bytes, nothing, nothing)
            least = float(np.min(queue.time_s, where=fitting, initial=np.inf))
        self.seconds[units] = max(float(self.seconds[units]), least)

    def compute(self, units: int, cutoff_s: float = np.inf) -> None:
        """The exact step of a share: the best layout of the group's whole search space for that batch.

        Args:
            cutoff_s: a longer step is of no interest: it counts as infinite.
        """
        if self.known[units] and not (units in self.beyond and np.isinf(cutoff_s)):
            return
        self.known[units] = True
        self.seconds[units] = np.inf
        self.beyond.discard(units)
        share, space = self._space(units)
        if not space.size:
            return
        require_closed_forms(share, space.outer)
        options = SweepOptions(top=1, pareto=False, cutoff_s=cutoff_s)
        sweep = sweep_space(share, space, options, "step_time", prices=self.prices)
        self.candidates += space.size
        self.evaluated += sweep.evaluated
        points = sweep.ranking.points
        if len(points):
            self.seconds[units] = float(points.time_s[0])
            self.layouts[units] = points.layouts.row(0)
        elif np.isfinite(cutoff_s):
            self.beyond.add(units)

    def _space(self, units: int) -> tuple[Job, Space]:
        """The job with that share, and its search space."""
        share = with_batch(self.job, units * self.unit)
        return share, search_space(share)


def with_batch(job: Job, sequences: int) -> Job:
    """The job with another global batch."""
    return replace(job, training=replace(job.training, global_batch=sequences))


def _rate_space(job: Job) -> Space:
    """Every mesh of the group with every micro-batch, in steps that are so long that their ends do not count."""
    space = search_space(with_batch(_any_batch(job), job.devices * _PER_DEVICE))
    first, _ = distinct_rows([space.outer.columns[name] for name in _RATE_KNOBS], len(space.outer))
    space = space.take(np.repeat(first, LARGEST_MICRO_BATCH))
    sizes = np.tile(np.arange(1, LARGEST_MICRO_BATCH + 1), len(first))
    return _with(_with(space, "micro_batch", sizes), "micro_batches", np.full(len(sizes), _MANY))


def _with(space: Space, knob: str, values: IntArray) -> Space:
    """The space with another column of its outer rows."""
    return replace(space, outer=replace(space.outer, columns={**space.outer.columns, knob: values}))


def _may_hold(job: Job, space: Space, prices: Prices) -> NDArray[np.bool_]:
    """Rows that may hold the whole model with a single micro-batch; more of them never need less memory."""
    single = _with(space, "micro_batches", np.ones(len(space.outer), dtype=np.int64))
    nothing = np.zeros(len(space.outer))
    return fits(job, memory_lower_bound(job, single, prices), nothing, nothing)


def _any_batch(job: Job) -> Job:
    """The job without the search options that depend on the batch."""
    options = job.search
    fix, limit, allow = (
        {knob: value for knob, value in part.items() if knob not in _BATCH_KNOBS}
        for part in (options.fix, options.limit, options.allow)
    )
    return replace(job, search=replace(options, fix=fix, limit=limit, allow=allow))


def _least_seconds_per_sequence(job: Job, rows: Layouts, prices: Prices) -> float:
    """Seconds that a group cannot go below per sequence, whatever the batch.

    Passes of the slowest rank in long steps.
    """
    bound = time_lower_bound(job, rows, prices)
    each = bound / (_MANY * rows.columns["micro_batch"] * rows.columns["dp"])
    return float(np.min(each)) * _ASYMPTOTIC
