"""Axis orders against one prediction for each permutation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from planner.costs.predict import predict
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layout import DEFAULT_AXIS_ORDER
from planner.layouts.legality import check
from planner.solvers.placement.axis_orders import axis_orders
from tests.conftest import MakeJob

CASES = [
    ("llama3-8b", 32, "tp=4,pp=2,cp=2,micro_batch=1,zero_stage=1"),
    ("mixtral-8x7b", 32, "tp=2,pp=2,ep=8,micro_batch=1,zero_stage=1"),
]


def job_of(make_job: MakeJob, model: str, devices: int) -> Job:
    """A job on nodes of eight."""
    return make_job(model, devices=devices, global_batch=64, per_node=8, framework="megatron-core")


@pytest.mark.parametrize(("model", "devices", "knobs"), CASES)
def test_the_best_order_is_the_best_of_all(make_job: MakeJob, model: str, devices: int, knobs: str) -> None:
    job = job_of(make_job, model, devices)
    layout = parse_layout(knobs, job)
    times = {}
    for order in itertools.permutations(DEFAULT_AXIS_ORDER):
        moved = replace(layout, axis_order=order)
        idle = layout.ep == 1 and order.index("ep") + 1 != order.index("dp")
        if not idle and not check(job, moved):
            times[order] = predict(job, moved).step_time_s
    orders = axis_orders(job, layout)
    assert {round(order.step_time_s, 12) for order in orders} == {round(time, 12) for time in times.values()}
    assert all(
        times[order.order] == pytest.approx(order.step_time_s, rel=1e-12)
        for order in orders
        if order.order in times
    )
    fitting = [order for order in orders if order.fits] or list(orders)
    assert fitting[0].step_time_s == min(order.step_time_s for order in fitting)
    assert [order.order for order in orders if order.chosen] == [layout.axis_order]
    assert len({order.moved for order in orders}) == len(orders)


def test_on_one_level_every_order_costs_the_same(make_job: MakeJob) -> None:
    """Eight devices behind one switch: the plan's own order comes first."""
    job = make_job("llama3-8b", devices=8, framework="megatron-core")
    layout = parse_layout("tp=2,pp=2,micro_batch=1", job)
    orders = axis_orders(job, layout)
    assert len(orders) == 6
    assert orders[0].chosen
    assert [order.step_time_s for order in orders] == pytest.approx([orders[0].step_time_s] * 6)
