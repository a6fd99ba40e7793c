"""Shares of the batch against a listing of all of them, each priced by a search of its own."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from planner.errors import NoAnswerError
from planner.jobs.types import Job
from planner.solvers.mixed.group_times import GroupTimes, share_unit, with_batch
from planner.solvers.mixed.links import gradient_sum_seconds
from planner.solvers.mixed.pipelines import Limits
from planner.solvers.mixed.search import search_groups
from planner.solvers.mixed.shares import best_shares
from planner.solvers.search import search
from tests.solvers.mixed.small import group, mixed


def step_s(job: Job, sequences: int) -> float:
    try:
        return search(with_batch(job, sequences), top=1, pareto=False).plans[0].step_time_s
    except NoAnswerError:
        return np.inf


CASES: dict[str, Any] = {
    "two groups": ([group("a", 2), group("b", 2, speed=0.35)], 10),
    "three groups": ([group("a", 2), group("b", 1, speed=0.5), group("c", 3, per_node=3, speed=0.2)], 7),
}


NO_ROOM = ("15 GB", "20 GB")
"""Of a device, too little for half of the tiny model in training whatever the batch."""


@pytest.mark.parametrize("name", CASES)
def test_the_best_shares_equal_a_listing(name: str) -> None:
    groups, batch = CASES[name]
    job = mixed(*groups, batch=batch)
    times = [[step_s(part, n) for n in range(1, batch + 1)] for part in job.jobs]
    expected = min(
        max(own[n - 1] for own, n in zip(times, shares, strict=True))
        for shares in itertools.product(range(1, batch), repeat=len(groups))
        if sum(shares) == batch
    )
    found = best_shares({place: GroupTimes.of(part) for place, part in enumerate(job.jobs)}, 0.25, Limits())
    assert found.best is not None
    assert found.best.step_s == pytest.approx(expected + 0.25, rel=1e-12)
    assert found.lower_bound_s == found.best.step_s
    assert sum(found.best.sequences.values()) == batch
    for place, sequences in found.best.sequences.items():
        layout = found.best.layouts[place]
        assert layout.dp * layout.micro_batch * layout.micro_batches == sequences
        assert found.best.group_s[place] == times[place][sequences - 1]


@pytest.mark.parametrize("memory", ["15 GB", "20 GB", "25 GB", "40 GB"])
def test_shares_without_room_are_known_from_the_start(memory: str) -> None:
    job = mixed(group("a", 2, memory=memory), group("b", 2), batch=4).jobs[0]
    steps = [step_s(job, sequences) for sequences in range(1, 5)]
    times = GroupTimes.of(job)
    assert (times.seconds[1:] <= steps).all()
    assert times.known.all() == (memory in NO_ROOM) == np.isinf(steps).all()


def test_a_micro_batch_that_the_user_fixes_is_kept() -> None:
    job = mixed(group("a", 2), group("b", 2, speed=0.5), batch=12, search={"fix": {"micro_batch": 2}})
    replicas = next(plan for plan in search_groups(job).plans if plan.kind == "replicas")
    assert {segment.layout["micro_batch"] for segment in replicas.segments} == {2}
    assert sum(segment.sequences for segment in replicas.segments) == 12


@pytest.mark.parametrize(("batch", "unit"), [(7, 1), (1024, 1), (1536, 2), (4096, 4), (2 * 1031, 1)])
def test_units_of_large_batches(batch: int, unit: int) -> None:
    assert share_unit(batch) == unit
    assert batch % unit == 0


def test_the_sum_of_gradients_moves_each_device_s_part() -> None:
    """Two groups of 4 and 2 devices: each of 2 x 2 parts of the smaller group holds half of the fp32 gradients."""
    job = mixed(
        group("a", 4), group("b", 2), between={"bandwidth": "10 GB/s", "latency": "0 us", "efficiency": 1.0}
    )
    level = job.between(0, 1)
    gradients = job.jobs[0].model.parameter_count * 4.0 / 2
    seconds = gradient_sum_seconds(job.jobs, level)
    ring = 2 * (2 - 1) / 2 * gradients / 10e9
    assert ring <= seconds <= 1.5 * ring
