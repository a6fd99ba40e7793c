"""The search against brute force on 200 random small jobs, by every objective."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.solvers.search import certificate, checked_space
from planner.solvers.sweep import Sweep, SweepOptions, sweep_space
from tests.solvers.brute_force import Everything, price_all, with_memory_for
from tests.solvers.lister import listed
from tests.solvers.random_jobs import random_job

TOP = 10
SMALL = (40, 80, 160)
"""Largest numbers of layouts, one of which a job is drawn for."""


def problem(seed: int, sizes: Sequence[int] = SMALL) -> tuple[Job, Everything]:
    """A random job, and all of its layouts that fit."""
    draw = Random(seed)
    job = random_job(seed, draw.choice(sizes))
    every = price_all(job, listed(job) or [])
    # in a third of the jobs everything fits, in the others memory binds
    job = with_memory_for(job, every, max(0.0, min(1.0, draw.uniform(0.0, 1.5))))
    return job, every.fitting(job)


def swept(job: Job, objective: Any, *, pareto: bool = False) -> Sweep:
    return sweep_space(job, checked_space(job), SweepOptions(top=TOP, pareto=pareto), objective)


def layouts_of(sweep: Sweep) -> list[Layout]:
    return [sweep.ranking.points.layouts.row(i) for i in range(len(sweep.ranking.points))]


def check_ranking(sweep: Sweep, every: Everything, objective: str) -> None:
    """Values in order; the layouts of every value that is ranked whole, ties listed; the first one the leanest or fastest."""
    expected = sorted(every.values(objective))[:TOP]
    points = sweep.ranking.points
    columns = {
        "memory": points.memory_bytes,
        "cost": points.time_s * points.devices,
        "step_time": points.time_s,
    }
    assert columns[objective].tolist() == [row[0] for row in expected]
    assert sweep.finished
    assert sweep.lower_bound == expected[0][0]
    found = list(zip(columns[objective].tolist(), layouts_of(sweep), strict=True))
    whole = {
        value for value in columns[objective].tolist() if value < expected[-1][0] or len(every.rows) <= TOP
    }
    for value in whole:
        ties = {
            row
            for row, row_value in zip(every.rows, every.values(objective), strict=True)
            if row_value[0] == value
        }
        assert {row for row_value, row in found if row_value == value} == ties
    first = every.rows.index(found[0][1])
    assert every.values(objective)[first] == expected[0]


@pytest.mark.parametrize("seed", range(200))
def test_search_equals_brute_force(seed: int) -> None:
    job, every = problem(seed)
    sweep = swept(job, "step_time", pareto=True)
    check_ranking(sweep, every, "step_time")
    proof = certificate(job, sweep)
    assert (proof["gap"], proof["proved"]) == (0.0, True)
    points = sweep.frontier.points
    found = set(
        zip(points.time_s.tolist(), points.memory_bytes.tolist(), points.devices.tolist(), strict=True)
    )
    assert found == every.pareto("step_time", "memory", "devices")
    other = "cost" if job.search.allow.get("idle_devices") else "memory"
    if seed % 4 == 0 or other == "cost":
        check_ranking(swept(job, other), every, other)
