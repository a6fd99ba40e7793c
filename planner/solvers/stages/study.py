"""A search whose best pipelines get uneven stages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
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
from planner.solvers.search import search
from planner.solvers.stages.result import StagedPlan, StagedSearch
from planner.solvers.stages.uneven import DEFAULT_OPTIONS, UNCUT, StageOptions, UnevenStages, uneven_stages
from planner.solvers.sweep import Progress

_PER_PIPELINE = 8
"""Layouts looked at per pipeline asked for: many differ in their recompute only, which is chosen anew."""


_SIMULATED = 3
"""Most layouts per pipeline of which a step is simulated."""

_ROOMIER = (1.1, 1.3)
"""How much more memory a pipeline may need that uneven stages are to make fit."""

_SOLVING = 0.5
"""Share of a pipeline's time that its integer programmes may take; the rest is for prices and simulations."""


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
    where the layers do not divide. Layouts that differ in their recompute only are one pipeline. Where none fits, pipelines that
    would fit on devices of a little more memory are tried: uneven stages may make them fit.

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
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    wide = pipelines_only(job)
    limits: Any = {"gap": gap, "time_limit_s": None if time_limit_s is None else time_limit_s / 2}

    def ranked(roomier: float) -> StagedSearch | None:
        """With uneven stages, of pipelines that fit devices of so many times the memory."""
        top = count * _PER_PIPELINE
        result = search(_with_memory(wide, roomier), top=top, progress=progress, pareto=False, **limits)
        chosen = _distinct(wide, result.plans)[:count]
        if not chosen:
            raise NoAnswerError("none of the best layouts has stages that can be cut: allow other schedules")
        found = _cut(wide, chosen, options, deadline, progress)
        return StagedSearch(wide, found, result, roomier) if found else None

    nothing = NoAnswerError("no pipeline was found to fit")
    for roomier in (1.0, *_ROOMIER):
        try:
            found = ranked(roomier)
        except NoAnswerError as error:
            if roomier == 1.0:
                nothing = NoAnswerError(
                    f"with at least two pipeline ranks {error.message}", field=error.field
                )
            continue
        if found is not None:
            return found
    raise nothing


def _with_memory(job: Job, factor: float) -> Job:
    if factor == 1.0:
        return job
    accelerator = job.cluster.accelerator
    larger = replace(accelerator, memory_bytes=factor * accelerator.memory_bytes)
    return replace(job, cluster=replace(job.cluster, accelerator=larger))


def _cut(
    job: Job,
    chosen: Sequence[tuple[Layout, Prediction]],
    options: StageOptions,
    deadline: float | None,
    progress: Progress | None,
) -> tuple[StagedPlan, ...]:
    """The pipelines with uneven stages that fit, fastest first."""
    found = []
    for place, (layout, plan) in enumerate(chosen):
        if progress is not None:
            progress(place / len(chosen), f"stages of pipeline {place + 1} of {len(chosen)}")
        if deadline is not None:
            left = max(deadline - time.monotonic(), 0.0)
            options = replace(options, time_limit_s=max(left * _SOLVING / (len(chosen) - place), 0.1))
        stages = uneven_stages(job, layout, options)
        before = plan if stages.before_fits else predict(job, layout, rank=plan.rank)
        found.append(_confirmed(job, stages, before, deadline))
    fitting = sorted((item for item in found if item.after.memory.fits), key=lambda item: item.step_s)
    return tuple(
        replace(item, after=replace(item.after, rank=place)) for place, item in enumerate(fitting, 1)
    )


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
    if not stages.before_fits:
        return StagedPlan(stages, before, predict(job, tried[0]), rank)
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
