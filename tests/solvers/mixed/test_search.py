"""What a search over groups must hold to, whatever the devices."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.loader import open_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.solvers.mixed.job import MixedJob, load_mixed
from planner.solvers.mixed.result import MixedResult
from planner.solvers.mixed.search import search_groups
from planner.solvers.search import search
from tests.solvers.mixed.small import FEW, TINY, group, mapping, mixed

FAST, SLOW = group("fast", 4), group("slow", 4, speed=0.4)


def steps(result: MixedResult) -> dict[tuple[str, frozenset[str]], float]:
    return {(plan.kind, frozenset(plan.groups)): plan.step_s for plan in result.plans}


def alone(job: Job) -> float:
    return search(job, top=1, pareto=False).plans[0].step_time_s


def test_the_order_of_groups_in_the_file_changes_nothing() -> None:
    one = search_groups(mixed(FAST, SLOW, batch=16))
    other = search_groups(mixed(SLOW, FAST, batch=16))
    assert steps(one) == pytest.approx(steps(other), rel=1e-12)
    assert one.idle == other.idle


def test_a_faster_link_is_never_slower() -> None:
    links = ["0.2 GB/s", "4 GB/s", "80 GB/s"]
    found = [steps(search_groups(mixed(FAST, SLOW, batch=16, bandwidth=link))) for link in links]
    for slower, faster in itertools.pairwise(found):
        for way, seconds in faster.items():
            assert seconds <= slower.get(way, float("inf"))


def test_groups_alone_are_the_search_of_one_group() -> None:
    job = mixed(FAST, SLOW, batch=16)
    found = steps(search_groups(job))
    assert found["alone", frozenset({"fast"})] == alone(job.jobs[0])
    assert found["alone", frozenset({"slow"})] == alone(job.jobs[1])


def test_slow_nodes_behind_a_slow_link_stay_idle() -> None:
    """A tenth of the devices' speed, and gradients that take seconds to reach them."""
    far = group("far", 2, speed=0.1)
    result = search_groups(mixed(group("island", 8), far, batch=32, bandwidth="20 MB/s", latency="20 ms"))
    best, rest = result.plans[0], result.plans[1:]
    assert (best.kind, best.groups, result.idle) == ("alone", ("island",), ("far",))
    together = min(plan.step_s for plan in rest if len(plan.groups) == 2)
    assert result.gain == pytest.approx(1 - best.step_s / together)
    near = search_groups(mixed(group("island", 8), group("far", 2), batch=32, bandwidth="25 GB/s"))
    assert near.idle == ()


def test_equal_groups_are_one_cluster() -> None:
    """One stage on each of two equal groups against two stages on a cluster of both, cut in every way.

    The closed form of unequal ranks (docs/schedules.md) never exceeds sum t + (m - 1) max t, but for the ends.
    """
    pinned = {**FEW["fix"], "tp": 2, "sp": True, "pp": 1, "zero_stage": 1, "recompute": "none"}
    job = mixed(group("one", 4), group("two", 4), batch=32, search={"fix": pinned})
    plan = next(plan for plan in search_groups(job).plans if plan.kind == "pipeline")
    own = job.groups[0]
    network = (*own.network[:-1], replace(own.network[-1], size=8))
    both = replace(job.jobs[0], cluster=replace(own, nodes=4, network=network))
    knobs = "tp=2,sp=true,pp=2,dp=2,zero_stage=1,layers_per_stage={},micro_batch={}"
    steps_of_both = [
        predict(both, parse_layout(knobs.format([first, 4 - first], size), both)).step_time_s
        for first in (1, 2, 3)
        for size in (1, 2, 4, 8, 16)
    ]
    assert min(steps_of_both) <= plan.step_s <= 1.02 * min(steps_of_both)


def test_counts_that_are_no_powers_of_two() -> None:
    groups = [group("six", 6, per_node=3), group("five", 5, per_node=5, speed=0.5)]
    result = search_groups(mixed(*groups, batch=120, model={**TINY, "layers": 7}))
    ways = steps(result)
    assert result.certificate["proved"]
    assert ways["replicas", frozenset({"six", "five"})] < ways["alone", frozenset({"six"})]
    for plan in result.plans:
        if plan.kind == "pipeline":
            assert sum(segment.layers for segment in plan.segments) == 7


def test_the_parts_of_every_stage_add_up() -> None:
    result = search_groups(mixed(FAST, SLOW, batch=16))
    for plan in result.plans:
        assert plan.step_s == pytest.approx(max(part.step_s for part in plan.segments) + plan.sum_s)
        for segment in plan.segments:
            for stage in segment.stages:
                assert stage.time.total_s == pytest.approx(segment.step_s, rel=1e-9)
                assert sum(stage.memory.by_class.values()) == pytest.approx(stage.memory.peak_bytes)
                assert stage.memory.fits


def test_pipelines_played_action_by_action_take_about_as_long() -> None:
    """Passes and hops in 1F1B's order by the event engine: the closed form adds up fill and drain of unequal stages."""
    groups = [group("a", 4), group("b", 2, speed=0.4), group("c", 2, speed=0.8)]
    found = search_groups(mixed(*groups, batch=32, model={**TINY, "layers": 8}))
    played = [plan.simulated_step_s for plan in found.plans]
    pipelines = [plan for plan in found.plans if plan.kind == "pipeline"]
    assert len(pipelines) == 4
    for plan, simulated_s in zip(found.plans, played, strict=True):
        if plan.kind == "pipeline":
            assert simulated_s == pytest.approx(plan.step_s, rel=0.06)
        else:
            assert simulated_s is None


def test_the_cheapest_plan_leaves_a_dear_group_idle() -> None:
    groups = [group("cheap", 4, price=1.0), group("dear", 4, speed=0.4, price=5.0)]
    by_time = search_groups(mixed(*groups, batch=16))
    by_cost = search_groups(mixed(*groups, batch=16, search={**FEW, "objective": "cost"}))
    assert by_time.idle == ()
    assert by_cost.idle == ("dear",)
    best = by_cost.plans[0]
    assert best.value == pytest.approx(4 * 1.0 * best.step_s / 3600)


def test_a_time_limit_is_not_proved() -> None:
    job = mixed(FAST, SLOW, batch=16)
    exact = search_groups(job).plans[0].step_s
    short = search_groups(job, time_limit_s=0.0)
    assert not short.certificate["proved"]
    assert short.certificate["lower_bound"] <= exact <= short.plans[0].step_s


def test_nothing_fits() -> None:
    small = [group("a", 1, memory="3 GB"), group("b", 1, memory="3 GB")]
    with pytest.raises(NoAnswerError, match=r"a alone: .*b alone: "):
        search_groups(mixed(*small, batch=4))


def test_a_group_without_a_legal_layout_stays_idle() -> None:
    job = mixed(group("a", 8, per_node=8), group("b", 2), batch=16, search={"fix": {"tp": 8, "cp": 1}})
    result = search_groups(job)
    reasons = {item.what: item.why_not for item in result.comparisons}
    assert (result.plans[0].groups, result.idle, result.gain) == (("a",), ("b",), None)
    assert "no legal layout" in str(reasons["b alone"])
    assert reasons["all groups as replicas, equal shares per device"] == "nothing legal fits"


def load(groups: list[dict[str, Any]], **options: Any) -> MixedJob | None:
    return load_mixed(open_job(mapping(groups, **options)))


def test_a_precision_that_a_group_lacks_names_what_all_have() -> None:
    old = group("old", 2)
    del old["accelerator"]["peak_flops"]["bf16"]
    with pytest.raises(
        PlannerError, match=r"'bf16', which group 'old' .* lacks; all groups have: fp16, fp32"
    ) as caught:
        load([group("new", 2), old])
    assert caught.value.field == "training.precision"
    assert load([group("new", 2), old], precision="fp16") is not None


@pytest.mark.parametrize(
    ("search_options", "message"),
    [
        ({"objective": "memory"}, "step_time or cost"),
        ({"objective": "cost"}, "price_per_device_hour"),
    ],
)
def test_objectives_of_groups(search_options: dict[str, Any], message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        load([FAST, SLOW], search=search_options)


def test_a_schedule_that_pipelines_over_groups_do_not_run() -> None:
    job = mixed(FAST, SLOW, search={"fix": {"schedule": "gpipe"}})
    with pytest.raises(PlannerError, match="schedule = 1f1b"):
        search_groups(job)
