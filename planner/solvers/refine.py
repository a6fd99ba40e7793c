"""Refinement of a ranking by event simulation: what the closed form ranks best is simulated, then ranked anew.

The closed form screens, since it prices millions of layouts; a simulation sees what it cannot: who waits for whom, and which
transfers meet on a link. Docs: docs/search.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.errors import PlannerError
from planner.hardware.slicing import use_devices
from planner.jobs.prediction import Prediction
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.simulator.options import SimulationOptions
from planner.simulator.simulation import simulate
from planner.solvers.devices import step_time_target
from planner.solvers.noise import noise_of
from planner.solvers.pareto import DEFAULT_AXES, Axis
from planner.solvers.refinement import RefinedPlan, Refinement, kendall_tau
from planner.solvers.result import SearchResult
from planner.solvers.search import search

Progress = Callable[[float, str], None]

REFINED_OBJECTIVES = ("step_time", "cost", "devices")
TIME_LIMIT = "the time limit was reached"
SEARCH_SHARE = 0.5
"""Of a time limit: the search stops then at the latest, so that some is left for simulations."""

SIGNIFICANT = 9
"""Digits of simulated seconds that count; the rest is rounding, and equals keep the order of the closed form."""


def refine(
    job: Job,
    plans: Sequence[Prediction],
    *,
    count: int,
    progress: Progress | None = None,
    deadline_s: float | None = None,
) -> Refinement:
    """Simulate the first ``count`` plans of a ranking and rank them anew by the job's objective.

    Args:
        job: that the plans were searched for.
        plans: by the closed form, best first; at least one.
        progress: called with (done fraction, message).
        deadline_s: value of ``time.monotonic`` after which no simulation is begun.

    Raises:
        PlannerError: the objective does not depend on time.
    """
    check_objective(job)
    begin = time.monotonic()
    report = progress or (lambda done, message: None)
    items = []
    for index, plan in enumerate(plans):
        item = RefinedPlan(plan, index + 1)
        if index < count:
            report(
                index / min(count, len(plans)), f"simulating layout {index + 1} of {min(count, len(plans))}"
            )
            late = deadline_s is not None and time.monotonic() >= deadline_s
            item = replace(item, reason=TIME_LIMIT) if late else _simulated(job, item)
        items.append(item)
    done = [item for item in items if item.simulated_s is not None]
    ordered = sorted(done, key=lambda item: (_rounded(_objective(job, item)), item.closed_form_rank))
    first, best = items[0], (ordered or items)[0]
    gain = None
    if first.simulated_s is not None and best.simulated_s is not None:
        gain = _objective(job, first) / _objective(job, best) - 1.0
    return Refinement(
        plans=_ranked([*ordered, *(item for item in items if item.simulated_s is None)]),
        requested=count,
        kendall_tau=kendall_tau(
            [_closed_form(job, item) for item in done], [_rounded(_objective(job, item)) for item in done]
        ),
        gain=gain,
        seconds=time.monotonic() - begin,
    )


def refined_search(
    job: Job,
    *,
    count: int,
    top: int = 10,
    gap: float = 0.0,
    time_limit_s: float | None = None,
    progress: Progress | None = None,
    axes: Sequence[Axis] = DEFAULT_AXES,
) -> tuple[SearchResult, Refinement]:
    """A search whose best ``count`` plans are simulated; the ranking holds the ``top`` after that.

    Args:
        gap, progress, axes: as in ``search``.
        time_limit_s: for both parts: the search has at most half of it, the simulations what is left.

    Returns:
        (the search with its plans in their new order and ``certificate["simulation"]``, how the order changed).

    Raises:
        NoAnswerError: nothing fits.
        PlannerError: a search option is wrong, or the objective does not depend on time.
    """
    check_objective(job)
    deadline = None if time_limit_s is None else time.monotonic() + time_limit_s
    search_limit_s = None if time_limit_s is None else SEARCH_SHARE * time_limit_s
    # One more than is simulated: its closed form bounds what all others can reach.
    more = max(top, count + 1)
    found = search(job, top=more, gap=gap, time_limit_s=search_limit_s, progress=progress, axes=axes)
    refinement = refine(job, found.plans, count=count, progress=progress, deadline_s=deadline)
    certificate = {**found.certificate, "simulation": simulation_claim(job, found, refinement)}
    plans = tuple(item.plan for item in refinement.plans[:top])
    noise = noise_of(job, plans)
    return replace(found, plans=plans, certificate=certificate, noise=noise), refinement


def check_objective(job: Job) -> None:
    """Refuse an objective that simulated time does not enter.

    Raises:
        PlannerError: such an objective.
    """
    objective = job.search.objective
    if objective not in REFINED_OBJECTIVES:
        raise PlannerError(
            f"found '{objective}', which a simulated step time does not change; --refine accepts: "
            + ", ".join(REFINED_OBJECTIVES),
            field="search.objective",
        )


def simulation_claim(job: Job, found: SearchResult, refinement: Refinement) -> dict[str, Any]:
    """What is known about simulated time over the whole space, as data of the certificate.

    The closed form is no lower bound of the simulation (it may be above it), so nothing is proved about layouts that were
    not simulated; ``ratio_to_win``, the ratio of simulated to closed-form objective below which one of them would be the
    best, can be compared with the smallest ratio seen. Only where every layout that fits was simulated is the best
    ``proved``.
    """
    done = refinement.simulated
    left = [item for item in refinement.plans if item.simulated_s is None]
    next_item = min(left, key=lambda item: item.closed_form_rank, default=None)
    complete = (
        next_item is None
        and job.search.objective != "devices"
        and bool(found.certificate["proved"])
        and not any(number for why, number in found.space["pruned"].items() if why != "memory")
    )
    ratio = None
    if done and next_item is not None:
        ratio = _objective(job, done[0]) / _closed_form(job, next_item)
    return {
        "simulated": len(done),
        "best_s": done[0].simulated_s if done else None,
        "closed_form_of_next_s": None if next_item is None else next_item.closed_form_s,
        "smallest_ratio": min((1.0 + (item.difference or 0.0) for item in done), default=None),
        "ratio_to_win": ratio,
        "proved": complete and bool(done),
    }


def _simulated(job: Job, item: RefinedPlan) -> RefinedPlan:
    used = _job_of(job, item.plan.layout)
    try:
        seconds = simulate(used, parse_layout(item.plan.layout, used), SimulationOptions()).step_time_s
    except PlannerError as error:
        return replace(item, reason=error.message)
    meets = seconds <= step_time_target(job) if job.search.objective == "devices" else None
    plan = replace(item.plan, simulated_step_time_s=seconds)
    return replace(item, plan=plan, simulated_s=seconds, meets_target=meets)


def _job_of(job: Job, knobs: Mapping[str, Any]) -> Job:
    """The job on the devices that the plan was priced on: a search for the fewest takes a smaller cluster."""
    if job.search.objective != "devices":
        return job
    return replace(job, cluster=use_devices(job.cluster, _devices(knobs)))


def _devices(knobs: Mapping[str, Any]) -> int:
    return math.prod(int(knobs[axis]) for axis in ("tp", "cp", "pp", "dp"))


def _objective(job: Job, item: RefinedPlan) -> float:
    """Seconds, or device-seconds for the cost, by simulation."""
    return _weight(job, item) * (item.simulated_s or 0.0)


def _closed_form(job: Job, item: RefinedPlan) -> float:
    return _weight(job, item) * item.closed_form_s


def _weight(job: Job, item: RefinedPlan) -> int:
    return _devices(item.plan.layout) if job.search.objective == "cost" else 1


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT}g}")


def _ranked(items: Sequence[RefinedPlan]) -> tuple[RefinedPlan, ...]:
    return tuple(
        replace(
            item,
            plan=replace(item.plan, rank=place),
            simulated_rank=None if item.simulated_s is None else place,
        )
        for place, item in enumerate(items, 1)
    )
