"""The search against brute force on 200 random small jobs, by every objective."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from random import Random
from typing import Any

import pytest

from planner.jobs.types import Job
from planner.solvers.frontier import Points
from planner.solvers.pareto import AXES, front
from planner.solvers.ranking import objective_values
from planner.solvers.search import certificate, checked_space
from planner.solvers.sweep import Sweep, SweepOptions, sweep_space
from tests.solvers.brute_force import Everything, price_all, with_memory_for
from tests.solvers.lister import listed
from tests.solvers.random_jobs import random_job

SMALL = (24, 48, 96)
"""Largest numbers of layouts, one of which a job is drawn for."""


def problem(seed: int, sizes: Sequence[int] = SMALL) -> tuple[Job, Everything]:
    """A random job, and all of its layouts that fit."""
    draw = Random(seed)
    job = random_job(seed, draw.choice(sizes))
    every = price_all(job, listed(job))
    # in a third of the jobs everything fits, in the others memory binds
    job = with_memory_for(job, every, max(0.0, min(1.0, draw.uniform(0.0, 1.5))))
    return job, every.fitting(job)


def swept(job: Job, objective: Any, **options: Any) -> Sweep:
    return sweep_space(job, checked_space(job), SweepOptions(**options), objective)


def check_ranking(sweep: Sweep, every: Everything, objective: str) -> None:
    """Values in order; the layouts of every value that is ranked whole, ties listed; the first one the leanest or fastest."""
    top = sweep.ranking.size
    expected = sorted(every.values(objective))[:top]
    points = sweep.ranking.points
    values = objective_values(
        sweep.ranking.objective, points.time_s, points.memory_bytes, points.devices
    ).tolist()
    assert values == [row[0] for row in expected]
    assert sweep.finished
    assert sweep.lower_bound == expected[0][0]
    found = [(value, points.layouts.row(place)) for place, value in enumerate(values)]
    for value in {value for value in values if value < expected[-1][0] or len(every.rows) <= top}:
        ties = {row for row, own in zip(every.rows, every.values(objective), strict=True) if own[0] == value}
        assert {row for own, row in found if own == value} == ties
    assert every.values(objective)[every.rows.index(found[0][1])] == expected[0]


def check_pareto(points: Points, every: Everything) -> None:
    """The set over any two or more axes, each of its points once."""
    columns = {
        "step_time": points.time_s,
        "memory": points.memory_bytes,
        "cost": points.time_s * points.devices,
        "devices": points.devices,
    }
    assert len(points) == len(every.pareto("step_time", "memory", "devices"))
    for count in (2, 3, 4):
        for axes in combinations(AXES, count):
            rows = front(points, axes)
            found = [tuple(float(columns[axis][row]) for axis in axes) for row in rows]
            assert len(set(found)) == len(found)
            assert set(found) == every.pareto(*axes)


@pytest.mark.parametrize("seed", range(200))
def test_search_equals_brute_force(seed: int) -> None:
    """Half of the jobs with the Pareto set in one block, half without it in blocks so small that bounds rule out most."""
    job, every = problem(seed)
    if seed % 2:
        sweep = swept(job, "step_time", top=3, pareto=False, block_rows=16)
    else:
        sweep = swept(job, "step_time")
        check_pareto(sweep.frontier.points, every)
    check_ranking(sweep, every, "step_time")
    proof = certificate(job, sweep)
    assert (proof["gap"], proof["proved"]) == (0.0, True)
    assert proof["ties"] == min(sweep.ranking.size, every.time_s.count(min(every.time_s)))
    if seed % 4 == 0 or job.search.allow:
        other = "cost" if job.search.allow.get("idle_devices") else "memory"
        check_ranking(swept(job, other, top=5, pareto=False, block_rows=32), every, other)
