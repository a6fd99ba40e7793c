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
from planner.solvers.result import SearchResult
from planner.solvers.search import search
from planner.solvers.stages.uneven import DEFAULT_OPTIONS, UNCUT, StageOptions, UnevenStages, uneven_stages
from planner.solvers.sweep import Progress

_PER_PIPELINE = 8
"""Layouts looked at per pipeline asked for: many differ in their recompute only, which is chosen anew."""


@dataclass(frozen=True)
class StagedPlan:
    """One pipeline before and after.

    Args:
        before, after: predicted in full.
        rank_before: its place in the search's ranking.
    """

    stages: UnevenStages
    before: Prediction
    after: Prediction
    rank_before: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        found = self.stages
        return {
            "rank": self.after.rank,
            "rank_before": self.rank_before,
            "layout_before": dict(self.before.layout),
            "layout": dict(self.after.layout),
            "step_time_before_s": found.before_s,
            "step_time_s": found.after_s,
            "gain": found.gain,
            "method": found.method,
            "programme": None if found.solution is None else found.solution.to_json(),
            "rounds": found.rounds,
            "reason": found.reason,
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
        time_limit_s: of search (half of it) and stages together; each integer programme gets an equal part.

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
    wide = pipelines_only(job)
    half = None if time_limit_s is None else time_limit_s / 2
    result = search(
        wide, top=count * _PER_PIPELINE, gap=gap, time_limit_s=half, progress=progress, pareto=False
    )
    chosen = _distinct(wide, result.plans)[:count]
    if not chosen:
        raise NoAnswerError("none of the best layouts has stages that can be cut: allow other schedules")
    if time_limit_s is not None:
        left = max(time_limit_s - (time.monotonic() - begin), 1.0)
        options = replace(options, time_limit_s=left / len(chosen))
    found = []
    for place, (layout, plan) in enumerate(chosen):
        if progress is not None:
            progress(place / len(chosen), f"stages of pipeline {place + 1} of {len(chosen)}")
        found.append((uneven_stages(wide, layout, options), plan))
    found.sort(key=lambda pair: pair[0].after_s)
    plans = [
        StagedPlan(stages, plan, predict(wide, stages.after, rank=place + 1), plan.rank or 0)
        for place, (stages, plan) in enumerate(found)
    ]
    return StagedSearch(wide, tuple(plans), result)


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
