"""Options, limits and messages of the search."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.legality import check
from planner.solvers.devices import step_time_target
from planner.solvers.neighbours import neighbours
from planner.solvers.search import search

TINY = {"preset": "llama3-8b", "layers": 4}


def small(make_job: Any, **search_options: Any) -> Job:
    job: Job = make_job(TINY, 8, 16, per_node=4, **search_options)
    return job


def with_memory(job: Job, nbytes: float) -> Job:
    accelerator = replace(job.cluster.accelerator, memory_bytes=nbytes)
    return replace(job, cluster=replace(job.cluster, accelerator=accelerator))


def test_time_limit_returns_what_was_proved(make_job: Any) -> None:
    with pytest.raises(NoAnswerError, match="time limit"):
        search(small(make_job), time_limit_s=0.0)


def test_gap_stops_with_a_bound(make_job: Any) -> None:
    job = make_job("llama3-8b", 64, 128, framework="megatron-core")
    exact = search(job, top=1)
    loose = search(job, top=1, gap=0.2)
    certificate = loose.certificate
    assert loose.space["evaluated"] <= exact.space["evaluated"]
    assert exact.plans[0].step_time_s <= certificate["best_s"]
    assert certificate["lower_bound_s"] <= exact.plans[0].step_time_s
    assert certificate["best_s"] * (1 - 0.2) <= exact.plans[0].step_time_s
    assert certificate["gap"] <= 0.2


def test_progress_ends_at_one(make_job: Any) -> None:
    seen: list[float] = []
    search(small(make_job), progress=lambda done, message: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"fix": {"tp": 2, "pp": 2}}, {"tp": 2, "pp": 2}),
        ({"fix": {"zero_stage": 3}}, {"zero_stage": 3}),
        ({"fix": {"recompute": "full"}}, {"recompute": "full"}),
        ({"fix": {"schedule": "ZB-H1"}}, {"schedule": "zb_h1"}),
        ({"fix": {"schedule": "zb_v"}}, {"schedule": "zb_v", "vpp": 2}),
        (
            {"fix": {"offload": {"optimizer": "host"}}},
            {"offload": {"optimizer": {"tier": "host", "fraction": 1.0}}},
        ),
        ({"fix": {"pp": 2, "layers_per_stage": [1, 3]}}, {"layers_per_stage": [1, 3], "pp": 2}),
        ({"fix": {"cp_kind": "allgather", "cp": 2}}, {"cp_kind": "allgather", "cp": 2}),
        ({"fix": {"sp": True}}, {"sp": True}),
        (
            {"fix": {"axis_order": ["tp", "dp", "cp", "ep", "pp"]}},
            {"axis_order": ["tp", "dp", "cp", "ep", "pp"]},
        ),
        (
            {"fix": {"micro_batch": 2}, "allow": {"schedule": ["gpipe"]}, "limit": {"vpp": 1}},
            {"micro_batch": 2},
        ),
    ],
)
def test_pinned_knobs_hold_in_every_plan(
    make_job: Any, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    for plan in search(small(make_job, **options), top=5).plans:
        assert {name: plan.layout.get(name) for name in expected} == expected


def test_limits_and_lists_hold(make_job: Any) -> None:
    job = small(
        make_job,
        limit={"tp": 2, "micro_batch": 2},
        allow={"zero_stage": [0, 1], "recompute": ["none", "full"]},
    )
    for point in search(job).pareto:
        layout = point["layout"]
        assert layout["tp"] <= 2
        assert layout["micro_batch"] <= 2
        assert layout.get("zero_stage") in (0, 1)
        assert layout["recompute"] in ("none", "full")


def test_uneven_stages_are_opt_in(make_job: Any) -> None:
    """Five layers on four stages run only when the user allows it, with the longer stage off the ends."""
    uneven = {"preset": "llama3-8b", "layers": 5}
    fixed = {"fix": {"pp": 4}}
    with pytest.raises(NoAnswerError, match="no legal layout"):
        search(make_job(uneven, 8, 16, **fixed))
    plan = search(make_job(uneven, 8, 16, allow={"uneven_stages": True}, **fixed)).plans[0]
    assert plan.layout["layers_per_stage"] == [1, 2, 1, 1]


def test_every_plan_is_legal_and_fits(make_job: Any) -> None:
    job = small(make_job)
    for plan in search(job, top=20).plans:
        assert plan.memory.fits
        assert not check(job, parse_layout(plan.layout, job))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"fix": {"tpp": 2}}, "search.fix.tpp"),
        ({"limit": {"schedule": 2}}, "search.limit.schedule"),
        ({"allow": {"schedules": ["1f1b"]}}, "search.allow.schedules"),
        ({"allow": {"schedule": ["zigzag"]}}, "search.allow.schedule"),
        ({"allow": {"zero_stage": [5]}}, "search.allow.zero_stage"),
        ({"fix": {"offload": {"optimizer": "tape"}}}, "search.fix.offload.optimizer.tier"),
        ({"fix": {"tp": "two"}}, "search.fix.tp"),
        ({"fix": {"schedule": "v_half"}}, "search.fix.schedule"),
        ({"allow": {"idle_devices": "perhaps"}}, "search.allow.idle_devices"),
    ],
)
def test_bad_options_name_their_field(make_job: Any, options: dict[str, Any], field: str) -> None:
    with pytest.raises(PlannerError) as caught:
        search(small(make_job, **options))
    assert caught.value.field == field
    assert caught.value.exit_code == 2


def test_nothing_fits_names_the_leanest(make_job: Any) -> None:
    job = with_memory(small(make_job, fix={"zero_stage": 0, "tp": 1, "pp": 1}), 7e9)
    with pytest.raises(NoAnswerError) as caught:
        search(job)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "the leanest" in message
    assert "GiB too many" in message
    assert "without search.fix" in message
    assert "fits" in message


def test_no_legal_layout_says_how_many_there_would_be(make_job: Any) -> None:
    with pytest.raises(NoAnswerError, match=r"without search\.fix, limit and allow there are"):
        search(small(make_job, fix={"tp": 3}))


def test_fewest_devices_meets_the_target_and_fewer_do_not(make_job: Any) -> None:
    full = small(make_job)
    two = make_job(TINY, 2, 16, per_node=2)
    rate = full.training.tokens_per_step / (search(two, top=1).plans[0].step_time_s * 0.99)
    job = replace(full, search=replace(full.search, objective="devices", target={"tokens_per_s": rate}))
    plan = search(job).plans[0]
    degrees = plan.layout
    used = degrees["tp"] * degrees["cp"] * degrees["pp"] * degrees["dp"]
    assert plan.tokens_per_s >= rate
    assert used == 4
    too_fast = replace(job, search=replace(job.search, target={"tokens_per_s": 1e12}))
    with pytest.raises(NoAnswerError, match="no layout on up to 8 devices"):
        search(too_fast)


def test_deadline_target(make_job: Any) -> None:
    job = small(make_job, objective="devices", target={"deadline_s": 1000.0, "tokens": 100.0 * 16 * 2048})
    assert step_time_target(job) == pytest.approx(10.0)
    with pytest.raises(PlannerError, match="needs a target"):
        step_time_target(small(make_job, objective="devices"))


def test_neighbours_differ_in_what_they_say(make_job: Any) -> None:
    job = small(make_job)
    best = search(job, top=1).plans[0]
    found = neighbours(job, best)
    assert {"micro_batch", "recompute", "tp"} <= {item.knob for item in found}
    assert len({item.layout for item in found}) == len(found)
    for item in found:
        assert not check(job, item.layout)
        assert sum(item.time_change_s.values()) == pytest.approx(item.step_change_s, abs=1e-9)
        if item.overflow_bytes == 0 and item.prediction.memory.fits:
            assert item.step_change_s >= 0
    full = next(item for item in found if (item.knob, item.value) == ("recompute", "full"))
    assert full.time_change_s["compute_s"] > 0
    assert full.memory_change_bytes <= 0


def test_cost_prefers_fewer_device_seconds(make_job: Any) -> None:
    job = small(make_job, objective="cost", allow={"idle_devices": True})
    plan = search(job, top=1)
    degrees = plan.plans[0].layout
    used = degrees["tp"] * degrees["cp"] * degrees["pp"] * degrees["dp"]
    points = search(replace(job, search=replace(job.search, objective="step_time"))).pareto
    assert plan.plans[0].step_time_s * used <= min(p["step_time_s"] * p["devices"] for p in points) * (
        1 + 1e-12
    )


@pytest.mark.parametrize(
    "options", [{}, {"objective": "devices", "target": {"tokens_per_s": 1.0}}], ids=["step_time", "devices"]
)
def test_schedules_that_need_simulation_are_refused(make_job: Any, options: dict[str, Any]) -> None:
    job = make_job(TINY, 8, 64, per_node=4, fix={"schedule": "v_half", "pp": 2, "vpp": 2}, **options)
    with pytest.raises(
        PlannerError, match="v_half has no closed form to search with; accepted: gpipe"
    ) as caught:
        search(job)
    assert caught.value.field == "search.fix.schedule"
