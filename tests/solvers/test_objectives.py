"""Objectives beside step time: fewest devices by brute force over device counts, money, axes of the Pareto set."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.hardware.slicing import use_devices
from planner.jobs.types import Job
from planner.layouts.space.space import search_space
from planner.solvers.pareto import parse_axes
from planner.solvers.search import search
from planner.solvers.unfit import leanest
from tests.solvers.brute_force import price_all, with_memory_for
from tests.solvers.lister import listed
from tests.solvers.random_jobs import random_job

TINY = {"preset": "llama3-8b", "layers": 4}


def fastest_by_count(job: Job) -> dict[int, float]:
    """Seconds of the fastest step on each count of devices that whole nodes or equal parts of one make."""
    per_node = job.cluster.devices_per_node
    result = {}
    for count in range(1, job.devices + 1):
        if count % per_node and per_node % count:
            continue
        try:
            smaller = replace(job, cluster=use_devices(job.cluster, count))
        except PlannerError:
            continue
        fitting = price_all(smaller, rows).fitting(smaller) if (rows := listed(smaller)) else None
        if fitting is not None and fitting.rows:
            result[count] = min(fitting.time_s)
    return result


@pytest.mark.parametrize(
    "seed", [seed for seed in range(2000, 2040) if random_job(seed, 60).cluster.nodes < 4]
)
def test_fewest_devices_equal_brute_force(seed: int) -> None:
    job = random_job(seed, 60)
    draw = Random(seed)
    job = with_memory_for(job, price_all(job, listed(job)), draw.random())
    times = fastest_by_count(job)
    limit_s = min(times.values()) * draw.choice((0.9, 1.0 + 1e-9, 1.5, 3.0, 8.0))
    meeting = [count for count, seconds in times.items() if seconds <= limit_s]
    target = {"deadline_s": limit_s * 1000.0, "tokens": 1000.0 * job.training.tokens_per_step}
    wanted = replace(job, search=replace(job.search, objective="devices", target=target))
    if not meeting:
        with pytest.raises(NoAnswerError):
            search(wanted, top=1)
        return
    found = search(wanted, top=1)
    plan = found.plans[0]
    assert round(plan.tokens_per_s / plan.tokens_per_s_per_device) == min(meeting)
    assert plan.step_time_s == times[min(meeting)]
    assert found.certificate["proved"] is True


@pytest.mark.parametrize("seed", range(2100, 2108))
def test_the_leanest_layout_is_that_of_brute_force(seed: int) -> None:
    job = random_job(seed, 200)
    found = leanest(job, search_space(job))
    every = price_all(job, listed(job))
    assert found is not None
    assert found.used_bytes == min(every.memory_bytes)
    assert every.memory_bytes[every.rows.index(found.layout)] == found.used_bytes


def test_money_per_token_is_price_times_device_hours(make_job: Any) -> None:
    """3.6 per device and hour is a thousandth per device-second."""
    job = make_job(TINY, 8, 16, per_node=4, objective="cost", allow={"idle_devices": True})
    job = replace(job, cluster=replace(job.cluster, price_per_device_hour=3.6))
    found = search(job, top=3)
    money = found.to_json()["money"]
    assert money["price_per_device_hour"] == 3.6
    for plan, cost in zip(found.plans, money["cost_per_million_tokens"], strict=True):
        knobs = plan.layout
        devices = knobs["tp"] * knobs["cp"] * knobs["pp"] * knobs["dp"]
        assert cost == pytest.approx(1e-3 * devices * plan.step_time_s / (16 * 2048) * 1e6)
    assert money["cost_per_million_tokens"] == sorted(money["cost_per_million_tokens"])
    assert found.certificate["best_per_million_tokens"] == pytest.approx(money["cost_per_million_tokens"][0])
    assert min(point["cost_per_million_tokens"] for point in found.pareto) == pytest.approx(
        money["cost_per_million_tokens"][0]
    )


def test_without_a_price_there_is_no_money(make_job: Any) -> None:
    found = search(make_job(TINY, 8, 16, per_node=4), top=1)
    assert found.to_json()["money"] is None
    assert {point["cost_per_million_tokens"] for point in found.pareto} == {None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step_time,mem", "did you mean 'memory'"),
        ("memory", "found one axis"),
        ("memory,devices,memory", "'memory' is given twice"),
        ("", "unknown axis ''"),
    ],
)
def test_bad_axes_are_refused(text: str, message: str) -> None:
    with pytest.raises(PlannerError, match=message) as caught:
        parse_axes(text)
    assert caught.value.field == "--pareto"
    assert caught.value.exit_code == 2


def test_axes_are_read_in_their_order() -> None:
    assert parse_axes("cost, step_time") == ("cost", "step_time")
