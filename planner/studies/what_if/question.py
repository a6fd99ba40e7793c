"""A job, the layout it runs with, and the two answers that every what-if needs: that layout's time and the best one's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from planner.costs.evaluate import evaluate
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.space.space import Space
from planner.solvers.search import checked_space
from planner.solvers.sweep import SweepOptions, sweep_space
from planner.solvers.unfit import explain_unfit

ROUNDING = 1.0 + 1e-9
"""Times of a layout by itself and in a block of a search may differ by rounding."""


@dataclass(frozen=True)
class Best:
    """The fastest layout of a space and its seconds per step."""

    layout: Layout
    step_time_s: float


@dataclass(frozen=True)
class Question:
    """Where every what-if begins.

    Args:
        job: as it is.
        space: its layouts. They do not depend on speeds, so that every search of other hardware goes through the same ones.
        kept: the layout that changes are first tried with; step_time_s: its seconds per step now.
        best: the best layout now.
    """

    job: Job
    space: Space = field(repr=False)
    kept: Layout
    step_time_s: float
    best: Best

    def seconds(self, job: Job) -> float | None:
        """Step of the kept layout on changed hardware; None when it does not fit."""
        return seconds_of(job, [self.kept])

    def search(
        self, job: Job, *, known: Sequence[Layout] = (), within_s: float = float("inf")
    ) -> Best | None:
        """The fastest layout on changed hardware; None when none fits, or none is within a limit.

        Args:
            known: layouts that may be good there, besides today's: the fastest that fits rules most others out unseen.
            within_s: slower layouts are of no interest.
        """
        limit = seconds_of(job, [self.kept, self.best.layout, *known])
        return fastest(job, self.space, min(within_s, float("inf") if limit is None else limit) * ROUNDING)


def ask(job: Job, layout: Layout | None = None) -> Question:
    """The question about a job that runs with a layout, or with its best one.

    Raises:
        NoAnswerError: nothing is legal, or nothing fits.
        PlannerError: a search option is wrong.
    """
    job = replace(job, search=replace(job.search, objective="step_time", target={}))
    space = checked_space(job)
    best = fastest(job, space)
    if best is None:
        raise explain_unfit(job, space)
    if layout is None:
        return Question(job, space, best.layout, best.step_time_s, best)
    step = float(evaluate(job, from_layouts([layout])).step_time_s[0])
    return Question(job, space, layout, step, best)


def fastest(job: Job, space: Space, within_s: float = float("inf")) -> Best | None:
    """The fastest layout of a space that fits and is not slower than a limit, exactly; None without one."""
    options = SweepOptions(top=1, pareto=False, cutoff_s=within_s)
    points = sweep_space(job, space, options, "step_time").ranking.points
    return Best(points.layouts.row(0), float(points.time_s[0])) if len(points) else None


def seconds_of(job: Job, layouts: Sequence[Layout]) -> float | None:
    """Seconds per step of the fastest of some layouts; None when none of them fits."""
    found = evaluate(job, from_layouts(layouts))
    times = found.step_time_s[found.memory.fits]
    return float(times.min()) if len(times) else None
