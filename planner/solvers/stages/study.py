"""A search whose best pipelines get uneven stages."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import Layout, Recompute
from planner.layouts.variants import divisors
from planner.simulator.options import SimulationOptions
from planner.simulator.simulation import simulate
from planner.solvers.result import SearchResult
from planner.solvers.search import search
from planner.solvers.stages.uneven import DEFAULT_OPTIONS, UNCUT, StageOptions, UnevenStages, uneven_stages
from planner.solvers.sweep import Progress

_PER_PIPELINE = 8
"""Layouts looked at per pipeline asked for: many differ in their recompute only, which is chosen anew."""


_SIMULATED = 3
"""Most layouts per pipeline of which a step is simulated."""

_SOLVING = 0.5
"""Share of a pipeline's time that its integer programmes may take; the rest is for prices and simulations."""


@dataclass(frozen=True)
class StagedPlan:
    """One pipeline before and after.

    Args:
        before, after: predicted in full.
        rank_before: its place in the search's ranking.
        reason: why it keeps its stages, None when it need not.
    """

    stages: UnevenStages
    before: Prediction
    after: Prediction
    rank_before: int
    reason: str | None = None

    @property
    def step_s(self) -> float:
        """Seconds per step by the closed form."""
        return self.after.step_time_s

    @property
    def gain(self) -> float:
        """Fraction of the step that uneven stages save by the closed form."""
        return 1.0 - self.step_s / self.before.step_time_s

    @property
    def simulated_gain(self) -> float | None:
        """The same by simulation; None where it was not simulated."""
        before, after = self.before.simulated_step_time_s, self.after.simulated_step_time_s
        return None if before is None or after is None else 1.0 - after / before

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        found = self.stages
        return {
            "rank": self.after.rank,
            "rank_before": self.rank_before,
            "layout_before": dict(self.before.layout),
            "layout": dict(self.after.layout),
            "step_time_before_s": self.before.step_time_s,
            "step_time_s": self.step_s,
            "gain": self.gain,
            "simulated_before_s": self.before.simulated_step_time_s,
            "simulated_s": self.after.simulated_step_time_s,
            "simulated_gain": self.simulated_gain,
            "method": found.method,
            "programme": None if found.solution is None else found.solution.to_json(),
            "rounds": found.rounds,
            "reason": self.reason,
            "seconds": found.seconds,
        }


@dataclass(frozen=True)
class StagedSearch:
    """The best pipelines with uneven stages, fastest first, and the search that they come from."""

    job: Job
    plans: tuple[StagedPlan, ...]
    search: SearchResult

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``plan search --stages N --json`` prints it."""
        found = self.search.to_json()
        return {
            "plans": [plan.after.to_json() for plan in self.plans],
            "stages": [plan.to_json() for plan in self.plans],
            "space": found["space"],
            "certificate": found["certificate"],
        }


def staged_search(
    job: Job,
    count: int,
    options: StageOptions = DEFAULT_OPTIONS,
    *,
    gap: float = 0.0,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> StagedSearch:
    """The ``count`` best pipelines of a job's search space, each with layers and recompute dealt out unevenly.

    The space is the job's with at least two pipeline ranks and, unless the job forbids it, stages that differ by one layer
    where the layers do not divide. Layouts that differ in their recompute only are one pipeline.

    Args:
        time_limit_s: of search (half of it) and stages together; what the search leaves is shared out evenly.

    Raises:
        NoAnswerError: no pipeline is legal or fits.
        PlannerError: the objective is not a time.
    """
    if job.search.objective not in ("step_time", "cost"):
        raise PlannerError(
            f"--stages minimises the step's time; objective {job.search.objective} is not one of step_time, cost",
            field="search.objective",
        )
    begin = time.monotonic()
    deadline = None if time_limit_s is None else begin + time_limit_s
    wide = pipelines_only(job)
    half = None if time_limit_s is None else time_limit_s / 2
    result = search(
        wide, top=count * _PER_PIPELINE, gap=gap, time_limit_s=half, progress=progress, pareto=False
    )
    chosen = _distinct(wide, result.plans)[:count]
    if not chosen:
        raise NoAnswerError("none of the best layouts has stages that can be cut: allow other schedules")
    found = []
    for place, (layout, plan) in enumerate(chosen):
        if progress is not None:
            progress(place / len(chosen), f"stages of pipeline {place + 1} of {len(chosen)}")
        if deadline is not None:
            left = max(deadline - time.monotonic(), 0.0)
            options = replace(options, time_limit_s=max(left * _SOLVING / (len(chosen) - place), 0.1))
        found.append(_confirmed(wide, uneven_stages(wide, layout, options), plan, deadline))
    found.sort(key=lambda item: item.step_s)
    plans = [replace(item, after=replace(item.after, rank=place + 1)) for place, item in enumerate(found)]
    return StagedSearch(wide, tuple(plans), result)


def _confirmed(job: Job, stages: UnevenStages, before: Prediction, deadline: float | None) -> StagedPlan:
    """The fastest of the layouts found for which a simulated step is shorter too; the one before when there is none."""
    rank = before.rank or 0
    if not stages.found:
        return StagedPlan(stages, before, before, rank, stages.reason)
    if deadline is not None and time.monotonic() >= deadline:
        return StagedPlan(
            stages, before, before, rank, "the time limit came before a simulation of uneven stages"
        )
    tried = [layout for layout, _ in stages.found[:_SIMULATED]]
    try:
        first, *others = (
            simulate(job, one, SimulationOptions()).step_time_s for one in (stages.before, *tried)
        )
    except PlannerError as error:
        return StagedPlan(stages, before, before, rank, f"not simulated: {error.message}")
    best = min(range(len(others)), key=others.__getitem__)
    if others[best] >= first:
        words = f"uneven stages look faster, but a simulated step takes {100 * (others[best] / first - 1):.1f} % longer"
        return StagedPlan(stages, before, before, rank, words)
    after = replace(predict(job, tried[best]), simulated_step_time_s=others[best])
    return StagedPlan(stages, replace(before, simulated_step_time_s=first), after, rank)


def pipelines_only(job: Job) -> Job:
    """The job with a search space of pipelines: pp at least 2, stages that need not be equal.

    Raises:
        NoAnswerError: the job fixes pp = 1.
    """
    search_options = job.search
    allow = dict(search_options.allow)
    if search_options.fix.get("pp") == 1:
        raise NoAnswerError("--stages needs a pipeline, and the job fixes pp to 1", field="search.fix.pp")
    if "pp" not in search_options.fix:
        wanted = allow.get("pp", divisors(job.devices))
        several = [pp for pp in (wanted if isinstance(wanted, Iterable) else [wanted]) if pp != 1]
        if not several:
            raise NoAnswerError(
                "--stages needs a pipeline, and the job allows pp = 1 only", field="search.allow.pp"
            )
        allow["pp"] = several
    allow.setdefault("uneven_stages", True)
    return replace(job, search=replace(search_options, allow=allow))


def _distinct(job: Job, plans: Iterable[Prediction]) -> list[tuple[Layout, Prediction]]:
    """The first plan of each pipeline."""
    found: dict[Layout, tuple[Layout, Prediction]] = {}
    for plan in plans:
        layout = parse_layout(dict(plan.layout), job)
        if layout.schedule not in UNCUT:
            bare = replace(layout, recompute=Recompute(), recompute_layers=None)
            found.setdefault(bare, (layout, plan))
    return list(found.values())
