"""``search_groups``: the best use of a cluster of several groups, with proof, beside simpler ways."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from planner.costs.kernels import peak_flops
from planner.errors import NoAnswerError
from planner.jobs.types import Job
from planner.solvers.mixed.candidates import Side, side_of
from planner.solvers.mixed.contents import Contents, stage_contents
from planner.solvers.mixed.group_times import GroupTimes
from planner.solvers.mixed.job import MixedJob
from planner.solvers.mixed.links import gradient_sum_seconds
from planner.solvers.mixed.pipeline_plan import pipeline_plan
from planner.solvers.mixed.pipelines import Limits, PipelineSearch, Progress, best_pipeline
from planner.solvers.mixed.plan import MixedPlan, alone_plan, shares_plan
from planner.solvers.mixed.result import Comparison, MixedResult
from planner.solvers.mixed.shares import ShareSearch, best_shares, proportional_shares
from planner.solvers.mixed.slowest import as_slowest
from planner.solvers.mixed.tables import StageTables
from planner.solvers.mixed.ways import Ways, ways_of
from planner.solvers.search import search

HOPELESS = 3.0
"""Shares are not priced exactly where bounds say that the step is longer than so many of the best one."""

MOST_IN_A_PIPELINE = 4
"""Groups of one pipeline: orders and combinations of ways grow with their factorial and power."""

Subset = tuple[int, ...]


@dataclass
class _State:
    """What a search over groups has computed so far."""

    mixed: MixedJob
    limits: Limits
    progress: Progress | None
    contents: Contents
    ways: dict[int, Ways]
    sides: dict[int, Side]
    tables: dict[int, StageTables]
    times: dict[int, GroupTimes]
    pipelines: dict[Subset, PipelineSearch] = field(default_factory=dict)
    shares: dict[Subset, ShareSearch] = field(default_factory=dict)

    @staticmethod
    def of(mixed: MixedJob, limits: Limits, progress: Progress | None) -> _State:
        found = {place: ways_of(job) for place, job in enumerate(mixed.jobs)}
        ways = {place: item for place, item in found.items() if item is not None}
        contents = stage_contents(mixed.jobs[0].model, 2)
        return _State(
            mixed,
            limits,
            progress,
            contents,
            ways,
            {place: side_of(mixed, place, item) for place, item in ways.items()},
            {place: StageTables(item, contents) for place, item in ways.items()},
            {place: GroupTimes.of(job) for place, job in enumerate(mixed.jobs)},
        )

    def subsets(self) -> Iterator[Subset]:
        """Sets of two groups or more."""
        groups = range(len(self.mixed.jobs))
        for count in range(2, len(self.mixed.jobs) + 1):
            yield from combinations(groups, count)

    def pipeline(self, subset: Subset, *, even: bool = False) -> PipelineSearch | None:
        """The best pipeline over some groups; None where one of them has no legal layout, or they are too many."""
        if len(subset) > MOST_IN_A_PIPELINE or not set(subset) <= self.ways.keys():
            return None
        return best_pipeline(
            {place: self.sides[place] for place in subset},
            self.tables,
            self.contents,
            self.limits,
            even=even,
            progress=self.progress,
        )

    def sum_s(self, subset: Subset) -> float:
        """Seconds of the sum of gradients over some groups, by the slowest link among them."""
        jobs = tuple(self.mixed.jobs[place] for place in subset)
        return max(gradient_sum_seconds(jobs, self.mixed.between(*pair)) for pair in combinations(subset, 2))


def search_groups(
    mixed: MixedJob,
    *,
    gap: float = 0.0,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
) -> MixedResult:
    """The best plan of each way to use the groups: each alone, pipelines over several, several as replicas.

    Args:
        gap: stop a search when nothing left can be better by more than this fraction.
        time_limit_s: stop after this long with the best so far, not proved.
        progress: called with (done fraction, message).

    Raises:
        NoAnswerError: no way fits.
        PlannerError: a search option that pipelines over groups do not have.
    """
    begin = time.monotonic()
    deadline = None if time_limit_s is None else begin + time_limit_s
    state = _State.of(mixed, Limits(gap, deadline), progress)
    alone = [_alone(state, place) for place in range(len(mixed.jobs))]
    plans = [item.plan for item in alone if item.plan is not None]
    for subset in state.subsets():
        plans += _pipelines(state, subset)
    hopeless_s = HOPELESS * min((plan.step_s for plan in plans), default=np.inf)
    for subset in state.subsets():
        plans += _replicas(state, subset, hopeless_s)
    if not plans:
        found = "was found to fit within the time limit" if state.limits.late else "fits"
        raise NoAnswerError(
            f"no plan of {mixed.jobs[0].model.name} {found} on '{mixed.cluster.name}': "
            + "; ".join(f"{item.what}: {item.why_not}" for item in alone)
        )
    plans.sort(key=lambda plan: (plan.value, len(plan.groups), plan.kind, plan.groups))
    simpler = [*_simpler(state, alone)]
    best = plans[0]
    idle = tuple(group.name for group in mixed.groups if group.name not in best.groups)
    return MixedResult(
        tuple(plans),
        (*alone, *simpler),
        idle,
        _gain(mixed, plans),
        _space(state, time.monotonic() - begin),
        _certificate(state, best),
    )


def _pipelines(state: _State, subset: Subset) -> list[MixedPlan]:
    """The best pipeline over all groups of a subset."""
    found = state.pipeline(subset)
    if found is None:
        return []
    state.pipelines[subset] = found
    best = found.best
    return [] if best is None else [pipeline_plan(state.mixed, state.ways, state.contents, best)]


def _replicas(state: _State, subset: Subset, hopeless_s: float) -> list[MixedPlan]:
    """The best shares of all groups of a subset as replicas."""
    found = best_shares(
        {place: state.times[place] for place in subset},
        state.sum_s(subset),
        state.limits,
        hopeless_s=hopeless_s,
        progress=state.progress,
    )
    state.shares[subset] = found
    return [] if found.best is None else [shares_plan(state.mixed, found.best)]


def _alone(state: _State, place: int) -> Comparison:
    """One group with the others idle: the best layout of its whole reference space."""
    mixed, times = state.mixed, state.times[place]
    what = f"{mixed.groups[place].name} alone"
    whole = mixed.global_batch // times.unit
    times.compute(whole)
    if whole in times.layouts:
        plan = alone_plan(mixed, place, times.layouts[whole])
        return Comparison(what, plan.step_s, plan.value, None, same_space=True, plan=plan)
    try:
        search(mixed.jobs[place], top=1, pareto=False)
    except NoAnswerError as error:
        return Comparison(what, None, None, error.message, same_space=True)
    raise AssertionError("a search finds what the shares' search finds")


def _simpler(state: _State, alone: list[Comparison]) -> Iterator[Comparison]:
    """What planners do that do not know groups: all devices as the slowest, equal stages, equal shares."""
    mixed = state.mixed
    every = tuple(range(len(mixed.jobs)))
    slowest = max(every, key=lambda place: _device_seconds(mixed, place, alone[place]))
    yield _as_slowest(mixed, slowest)
    even = state.pipeline(every, even=True)
    if even is not None:
        what = "pipeline over all groups, equal numbers of layers per stage"
        best = even.best and pipeline_plan(mixed, state.ways, state.contents, even.best)
        yield _comparison(what, best or None)
    searched = state.shares[every]
    if searched.best is None and np.isfinite(searched.lower_bound_s):
        bound = f"more than {searched.lower_bound_s:,.1f} s, whatever the shares"
        yield Comparison("all groups as replicas", None, None, bound, same_space=True)
        return
    shares = proportional_shares(state.times, state.sum_s(every))
    what = "all groups as replicas, equal shares per device"
    yield _comparison(what, None if shares is None else shares_plan(mixed, shares))


def _comparison(what: str, plan: MixedPlan | None) -> Comparison:
    if plan is None:
        return Comparison(what, None, None, "nothing legal fits", same_space=False)
    return Comparison(what, plan.step_s, plan.value, None, same_space=False, plan=plan)


def _as_slowest(mixed: MixedJob, slowest: int) -> Comparison:
    job: Job = as_slowest(mixed, slowest)
    what = f"all {job.devices} devices as {mixed.groups[slowest].accelerator.name}"
    try:
        step_s = search(job, top=1, pareto=False).plans[0].step_time_s
    except NoAnswerError as error:
        return Comparison(what, None, None, error.message, same_space=False)
    price = mixed.price_per_hour(tuple(range(len(mixed.jobs))))
    value = step_s if job.search.objective == "step_time" or price is None else price * step_s / 3600.0
    return Comparison(what, step_s, value, None, same_space=False)


def _device_seconds(mixed: MixedJob, place: int, alone: Comparison) -> float:
    """Device-seconds of a step on a group alone; by the peak of its devices where the job does not fit there."""
    if alone.step_s is not None:
        return alone.step_s * mixed.jobs[place].devices
    job = mixed.jobs[place]
    return np.finfo(float).max / peak_flops(job.cluster.accelerator, job.training.precision)


def _gain(mixed: MixedJob, plans: list[MixedPlan]) -> float | None:
    """The first plan against the best of the other kind: all groups at work, or one alone."""
    best = plans[0]
    uses_all = len(best.groups) == len(mixed.jobs)
    others = [
        plan
        for plan in plans[1:]
        if (len(plan.groups) == 1 if uses_all else len(plan.groups) == len(mixed.jobs))
    ]
    return 1.0 - best.value / others[0].value if others else None


def _space(state: _State, seconds: float) -> dict[str, Any]:
    """What was searched, and what of it was computed."""
    pipelines, times = state.pipelines.values(), state.times.values()
    return {
        "ways": {state.mixed.groups[place].name: len(ways) for place, ways in state.ways.items()},
        "pipelines": {
            "candidates": sum(item.candidates for item in pipelines),
            "cut": sum(item.cut for item in pipelines),
            "pruned": {
                "bound": sum(item.bound for item in pipelines),
                "memory": sum(item.unfit for item in pipelines),
            },
            "cuts_of_layers": "every one of each candidate, recompute policy per stage",
        },
        "replicas": {
            "share_unit": next(iter(times)).unit,
            "shares_priced": sum(int(item.known.sum()) for item in times),
            "candidates": sum(item.candidates for item in times),
            "evaluated": sum(item.evaluated for item in times),
        },
        "seconds": seconds,
    }


def _certificate(state: _State, best: MixedPlan) -> dict[str, Any]:
    """What is proved: no pipeline, shares or single group of the space is better by the closed form."""
    bounds = {
        **{subset: item.lower_bound_s for subset, item in state.pipelines.items()},
        **{
            subset: min(item.lower_bound_s, state.pipelines[subset].lower_bound_s)
            if subset in state.pipelines
            else item.lower_bound_s
            for subset, item in state.shares.items()
        },
    }
    scale = {subset: _scale(state.mixed, subset) for subset in bounds}
    lowest = min([best.value, *(bounds[subset] * scale[subset] for subset in bounds)])
    gap = max(0.0, 1.0 - lowest / best.value)
    return {
        "exact_for": "closed_form",
        "objective": state.mixed.jobs[0].search.objective,
        "best": best.value,
        "lower_bound": lowest,
        "best_s": best.step_s,
        "gap": gap,
        "proved": gap < 1e-12,
    }


def _scale(mixed: MixedJob, subset: Subset) -> float:
    """From seconds of a step to the objective."""
    price = mixed.price_per_hour(subset)
    by_time = mixed.jobs[0].search.objective == "step_time" or price is None
    return 1.0 if by_time or price is None else price / 3600.0
