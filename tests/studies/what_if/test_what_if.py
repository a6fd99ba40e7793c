"""Effects of hardware figures, needs for a target and switches of layouts, against plain searches of the changed job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.predict import predict
from planner.errors import NoAnswerError, PlannerError
from planner.jobs.figures import figure_of, figures
from planner.jobs.types import Job
from planner.layouts.knobs import layout_to_knobs, parse_layout
from planner.solvers.search import search
from planner.studies.what_if import (
    ask,
    effects_of,
    needs_for,
    parse_change,
    parse_prices,
    parse_range,
    standard_changes,
    vary,
)

TINY = {"preset": "llama3-8b", "layers": 4}


@pytest.fixture(scope="module")
def job(make_job: Any) -> Job:
    made: Job = make_job(
        TINY,
        8,
        16,
        per_node=4,
        limit={"micro_batch": 2, "cp": 1, "vpp": 1},
        allow={"recompute": ["none", "full"]},
    )
    return made


def network(job: Job, level: int, factor: float) -> Job:
    """The job with one level's bandwidth times a factor, written out."""
    levels = list(job.cluster.network)
    levels[level] = replace(levels[level], bandwidth=levels[level].bandwidth * factor)
    return replace(job, cluster=replace(job.cluster, network=tuple(levels)))


def device(job: Job, **changes: Any) -> Job:
    accelerator: Any = replace(job.cluster.accelerator, **changes)
    return replace(job, cluster=replace(job.cluster, accelerator=accelerator))


def plain_best(job: Job) -> float:
    return search(job, top=1, pareto=False).plans[0].step_time_s


def test_effects_equal_plain_searches_of_the_changed_job(job: Job) -> None:
    question = ask(job)
    assert question.step_time_s == question.best.step_time_s == plain_best(job)
    changed = {
        "infiniband.bandwidth": (0.1, network(job, 1, 0.1)),
        "nvlink.bandwidth": (1.5, network(job, 0, 1.5)),
        "memory_bandwidth": (0.5, device(job, memory_bandwidth=1e12)),
        "memory": (0.15, device(job, memory_bytes=12e9)),
    }
    effects = effects_of(question, [{name: factor} for name, (factor, _) in changed.items()])
    for effect, (_, other) in zip(effects, changed.values(), strict=True):
        kept = predict(other, question.kept)
        assert effect.best_s == pytest.approx(plain_best(other), rel=1e-12)
        if kept.memory.fits:
            assert effect.kept_s == pytest.approx(kept.step_time_s, rel=1e-12)
            assert effect.kept_change == pytest.approx(kept.step_time_s / question.step_time_s - 1.0)
        else:
            assert effect.kept_s is None
            assert effect.switches
        assert effect.best_change == pytest.approx(plain_best(other) / question.step_time_s - 1.0)
        assert effect.layout is not None
        there = predict(other, parse_layout(effect.layout, job))
        assert there.step_time_s == pytest.approx(effect.best_s, rel=1e-12)


def test_nothing_fits_in_a_tenth_of_the_memory(job: Job) -> None:
    (effect,) = effects_of(ask(job), [{"memory": 0.01}])
    assert (effect.kept_s, effect.best_s, effect.layout) == (None, None, None)


def test_elasticities_add_up_to_minus_one(make_job: Any) -> None:
    """Twice as fast everything makes half the step (homogeneity of degree -1), but for constants that are no figure."""
    question = ask(make_job("llama3-8b", 8, 32, per_node=4, seq_len=8192, limit={"micro_batch": 1, "cp": 1}))
    total = 0.0
    for effect in effects_of(question, standard_changes(question.job, 0.1)):
        (name,) = effect.factors
        if not name.endswith("memory"):
            better = 1.0 if figures(question.job)[name].more_is_better else -1.0
            total += better * (effect.elasticity or 0.0)
    assert total == pytest.approx(-1.0, abs=0.03)


def test_better_hardware_never_costs_and_the_best_gains_at_least_as_much(job: Job) -> None:
    for effect in effects_of(ask(job), standard_changes(job, 0.3)):
        assert effect.best_change is not None
        assert effect.kept_change is not None
        assert effect.best_change <= effect.kept_change + 1e-12 <= 2e-12
        assert all(after != before for before, after in effect.values.values())


def test_changes_together_are_one_question(job: Job) -> None:
    question = ask(job)
    (effect,) = effects_of(question, [parse_change(job, "memory_bandwidth=1 TB/s, nvlink.bandwidth=+50%")])
    both = network(device(job, memory_bandwidth=1e12), 0, 1.5)
    assert effect.best_s == pytest.approx(plain_best(both), rel=1e-12)
    assert effect.values["nvlink.bandwidth"] == pytest.approx((300e9, 450e9))
    assert effect.elasticity is None


def test_a_given_layout_is_the_one_that_is_kept(job: Job) -> None:
    kept = parse_layout("tp=8,sp=true,micro_batch=2", job)
    question = ask(job, kept)
    assert question.step_time_s == predict(job, kept).step_time_s > question.best.step_time_s
    (effect,) = effects_of(question, [{"nvlink.bandwidth": 1.0}])
    assert effect.kept_change == effect.best_change == 0.0


def test_needs_are_the_smallest_that_reach_the_target(job: Job) -> None:
    question = ask(job)
    target_s = question.step_time_s / 1.1
    target = needs_for(question, target_s)
    reached = {need.figure: need for need in target.needs if need.factor is not None}
    assert "peak_flops" in reached
    for need in reached.values():
        figure = figure_of(job, need.figure)
        assert need.factor is not None
        enough = figure.scale(job, need.factor)
        assert plain_best(enough) <= target_s * (1 + 1e-9)
        assert need.best_s == pytest.approx(plain_best(enough), rel=1e-12)
        short = need.factor / 1.002 if figure.more_is_better else need.factor * 1.002
        assert plain_best(figure.scale(job, short)) > target_s
    for need in target.needs:
        if need.factor is None:
            figure = figure_of(job, need.figure)
            most = figure.scale(job, 16.0 if figure.more_is_better else 1 / 16.0)
            assert plain_best(most) > target_s
            assert need.best_s == pytest.approx(plain_best(most), rel=1e-12)
    order = [need.factor is None for need in target.needs]
    assert order == sorted(order)
    assert target.needs[0].figure == "peak_flops"


def test_the_cheapest_need_comes_first(job: Job) -> None:
    question = ask(job)
    wanted = parse_prices(job, ["peak_flops=1000", "memory_bandwidth=1", "host.memory=0.1"])
    target = needs_for(question, question.step_time_s / 1.02, wanted)
    costs = {need.figure: need.cost for need in target.needs}
    assert set(costs) == {"peak_flops", "memory_bandwidth", "host.memory"}
    assert costs["host.memory"] is None
    assert target.needs[-1].figure == "host.memory"
    first = target.needs[0]
    assert (first.figure, costs["peak_flops"]) != ("peak_flops", None)
    for need in target.needs[:-1]:
        if need.factor is not None:
            assert need.cost == pytest.approx(wanted[need.figure] * (need.factor - 1.0))
    reached = [need.cost for need in target.needs if need.cost is not None]
    assert reached == sorted(reached)


def test_a_target_that_is_met_needs_nothing(job: Job) -> None:
    question = ask(job)
    target = needs_for(question, 2.0 * question.step_time_s)
    assert {need.factor for need in target.needs} == {1.0}


def test_switches_are_where_plain_searches_say(job: Job) -> None:
    question = ask(job)
    found = vary(question, *parse_range(job, "infiniband.bandwidth=0.05x..2x"))
    assert len(found.spans) >= 2
    assert sum(span.now for span in found.spans) == 1
    assert found.points[0].value == pytest.approx(0.05 * 25e9)
    assert found.points[-1].value == pytest.approx(2 * 25e9)
    for left, right in zip(found.spans[:-1], found.spans[1:], strict=True):
        assert left.end < right.begin <= left.end * 1.005 * (1 + 1e-9)
        assert left.layout != right.layout
    for span in found.spans:
        for value in (span.begin, span.end):
            plan = search(network(job, 1, value / 25e9), top=1, pareto=False).plans[0]
            assert plan.layout == span.layout
    inside = next(span for span in found.spans if span.now)
    assert inside.layout == layout_to_knobs(question.best.layout)
    for point in found.points:
        if point.best is not None and point.kept_s is not None:
            assert point.best.step_time_s <= point.kept_s * (1 + 1e-12)


def test_over_memory_the_best_step_follows_the_pareto_set(job: Job) -> None:
    """What fits in a capacity is known from one search with much memory: the set of step time and memory."""
    found = vary(ask(job), *parse_range(job, "memory=1.1 GB..1.5 GB"))
    assert found.spans[0].layout is None
    assert found.spans[0].begin == pytest.approx(1.1e9)
    assert found.spans[-1].end == pytest.approx(1.5e9)
    assert not any(span.now for span in found.spans)
    pareto = search(job, top=1, axes=("step_time", "memory")).pareto
    for point in found.points:
        usable = point.value * (1.0 - job.search.memory_reserve)
        fitting = [item["step_time_s"] for item in pareto if item["device_used_bytes"] <= usable]
        assert (point.best is None) == (not fitting)
        if point.best is not None:
            assert point.best.step_time_s == pytest.approx(min(fitting), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory", "FIGURE=CHANGE"),
        ("memroy=+10%", "did you mean 'memory'"),
        ("memory=-100%", "leaves nothing"),
        ("memory=0x", "leaves nothing"),
        ("memory=+10 apples", "or a change such as"),
        ("memory=3 TB/s", "or a change such as"),
        ("memory=+10%,memory=2x", "given twice"),
    ],
)
def test_bad_changes_are_refused(job: Job, text: str, message: str) -> None:
    with pytest.raises(PlannerError, match=message) as caught:
        parse_change(job, text)
    assert (caught.value.field or "").startswith("--change")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memory=2x", "FIGURE=FROM"),
        ("memory=2x..1x", "FROM below TO"),
        ("memory=2x..2x", "FROM below TO"),
        ("nvlnk.bandwidth=1x..2x", r"did you mean 'nvlink\.bandwidth'"),
    ],
)
def test_bad_ranges_are_refused(job: Job, text: str, message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        parse_range(job, text)


def test_bad_prices_are_refused(job: Job) -> None:
    for texts, message in (
        (["memory"], "FIGURE=MONEY"),
        (["memory=much"], "memory"),
        (["memory=1", "memory=2"], "given twice"),
        (["ram=1"], "unknown hardware figure"),
    ):
        with pytest.raises(PlannerError, match=message):
            parse_prices(job, texts)


def test_a_job_that_fits_nowhere_is_no_answer(job: Job) -> None:
    with pytest.raises(NoAnswerError, match="the leanest"):
        ask(device(job, memory_bytes=1e9))
