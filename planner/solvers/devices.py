"""The fewest devices that meet a throughput or a deadline."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from planner.costs.convention import model_flops
from planner.costs.kernels import peak_flops
from planner.errors import NoAnswerError, PlannerError
from planner.hardware.slicing import use_devices
from planner.jobs.types import Job
from planner.layouts.space.space import Space, search_space
from planner.solvers.bounds import require_closed_forms
from planner.solvers.sweep import Progress, Sweep, SweepOptions, sweep_space


def step_time_target(job: Job) -> float:
    """Longest step, in seconds, that meets the job's target: tokens_per_s, or tokens within deadline_s.

    Raises:
        PlannerError: no target.
    """
    target = job.search.target
    tokens = float(job.training.tokens_per_step)
    if "tokens_per_s" in target:
        return tokens / target["tokens_per_s"]
    budget = target.get("tokens", job.training.tokens)
    if "deadline_s" in target and budget:
        return target["deadline_s"] * tokens / budget
    raise PlannerError(
        "the objective 'devices' needs a target: tokens_per_s, or deadline and tokens", field="search.target"
    )


def fewest_devices(
    job: Job, options: SweepOptions, progress: Progress | None = None
) -> tuple[Job, Space, Sweep, int]:
    """Tries ascending device counts until one meets the target.

    Counts are whole nodes and equal parts of a node. A count below model FLOPs / (peak x target) cannot meet it and
    is not tried.

    Returns:
        (the job on that many devices, its space, its sweep, layouts in all spaces tried).

    Raises:
        NoAnswerError: the whole cluster does not meet the target.
    """
    limit_s = step_time_target(job)
    seen = 0
    pruned = {"memory": 0, "bound": 0}
    evaluated = 0
    for smaller in _sub_jobs(job, limit_s):
        space = search_space(smaller)
        if not space.size:
            continue
        require_closed_forms(smaller, space.outer)
        seen += space.size
        sweep = sweep_space(smaller, space, replace(options, cutoff_s=limit_s), "step_time", progress)
        evaluated += sweep.evaluated
        pruned = {
            name: pruned.get(name, 0) + sweep.pruned.get(name, 0) for name in {**pruned, **sweep.pruned}
        }
        if len(sweep.ranking.points) or not sweep.finished:
            return smaller, space, replace(sweep, evaluated=evaluated, pruned=pruned), seen
    raise NoAnswerError(
        f"no layout on up to {job.devices:,} devices makes a step within {limit_s:.4g} s "
        f"({job.training.tokens_per_step / limit_s:,.0f} tokens/s) inside memory",
        field="search.target",
    )


def _sub_jobs(job: Job, limit_s: float) -> Iterator[Job]:
    ideal = model_flops(job, "none") / (peak_flops(job.cluster.accelerator, job.training.precision) * limit_s)
    per_node = job.cluster.devices_per_node
    counts = [count for count in range(1, per_node) if per_node % count == 0]
    for count in (*counts, *range(per_node, job.devices + 1, per_node)):
        if count < math.floor(ideal):
            continue
        try:
            cluster = use_devices(job.cluster, count)
        except PlannerError:  # the network has no even share of that size
            continue
        yield replace(job, cluster=cluster)
