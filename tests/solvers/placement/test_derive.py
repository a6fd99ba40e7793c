"""The traffic of plans: bytes and places by hand, seconds as the plan's own on links of the cluster's rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.prediction import CommunicationRow
from planner.layouts.knobs import parse_layout
from planner.solvers.placement.derive import plan_traffic
from planner.solvers.placement.file_rates import file_rates
from planner.solvers.placement.members import row_groups
from planner.solvers.placement.score import scorer
from planner.solvers.placement.traffic import Term, Traffic
from tests.conftest import MakeJob


def traffic_of(
    make_job: MakeJob, model: str, knobs: str, **options: int
) -> tuple[Traffic, dict[str, float], float]:
    """(traffic, seconds by axis of the plan's rows on the network, rate between nodes)."""
    job = make_job(model, framework="megatron-core", per_node=8, **options)  # type: ignore[arg-type]
    layout = parse_layout(knobs, job)
    prediction = predict(job, layout)
    seconds: dict[str, float] = {}
    for rank in prediction.ranks:
        found: dict[str, float] = {}
        for row in rank.communication:
            if row.ranks_per_level[1] > 1 and row.axis != "pp":
                found[row.axis] = found.get(row.axis, 0.0) + row.seconds
        seconds = {axis: max(found.get(axis, 0.0), seconds.get(axis, 0.0)) for axis in {*found, *seconds}}
    seconds["pp"] = prediction.time.exposed["pp"]
    return plan_traffic(job, layout, prediction), seconds, float(file_rates(job.cluster, 2)[0, 1])


def term(traffic: Traffic, axis: str) -> Term:
    """The only term of an axis."""
    (found,) = (item for item in traffic.terms if item.axis == axis)
    return found


def test_a_node_for_each_stage_and_replica(make_job: MakeJob) -> None:
    """tp = 8 fills a node: 2 replicas x 4 stages, gradients of a quarter of the layers over each ring."""
    traffic, seconds, rate = traffic_of(
        make_job, "llama3-8b", "tp=8,pp=4,sp=true,micro_batch=1", devices=64, global_batch=64
    )
    assert traffic.places == 8
    assert rate == pytest.approx(8 * 25e9 * 0.8)
    hops = term(traffic, "pp")
    assert sorted(group.places for group in hops.groups) == [(0, 2, 4, 6), (1, 3, 5, 7)]
    # A micro-batch of 2,048 tokens of width 4,096 in two bytes, an eighth on each of the eight ranks.
    assert hops.groups[0].nbytes == pytest.approx(2048 * 4096 * 2)
    rings = term(traffic, "dp")
    assert sorted(group.places for group in rings.groups) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    # Eight layers of 4096 (2 x 4096 + 2 x 1024) + 3 x 4096 x 14336 weights and two norms, all-reduced in four bytes.
    layer = 4096 * (2 * 4096 + 2 * 1024) + 3 * 4096 * 14336
    norms = 2 * 4096 * 8
    middle = next(group for group in rings.groups if group.places == (2, 3))
    assert middle.nbytes == pytest.approx(8 * (layer + norms) * 4 * 2 * (2 - 1) / 2, rel=1e-3)
    scored = scorer(traffic, np.full((8, 8), rate)).term_seconds(np.arange(8))
    for item, found in zip(traffic.terms, scored, strict=True):
        assert found == pytest.approx(seconds[item.axis], rel=1e-6), item.label


def test_replicas_of_a_node_share_its_links(make_job: MakeJob) -> None:
    """tp = 2: four replicas a node; four pipelines and two halves of the weights go over the same links."""
    traffic, seconds, rate = traffic_of(
        make_job, "llama3-8b", "tp=2,pp=2,micro_batch=1", devices=32, global_batch=64
    )
    hops = term(traffic, "pp")
    assert sorted(group.places for group in hops.groups) == [(0, 2), (1, 3)]
    assert hops.groups[0].nbytes == pytest.approx(4 * 2048 * 4096 * 2)
    rings = term(traffic, "dp")
    assert sorted(group.places for group in rings.groups) == [(0, 1), (2, 3)]
    scored = scorer(traffic, np.full((4, 4), rate)).term_seconds(np.arange(4))
    by_axis = dict(zip([item.axis for item in traffic.terms], scored, strict=True))
    assert by_axis["pp"] == pytest.approx(seconds["pp"], rel=1e-6)
    assert by_axis["dp"] == pytest.approx(seconds["dp"], rel=1e-6)


def test_experts_exchange_between_all_places_of_a_group(make_job: MakeJob) -> None:
    traffic, seconds, rate = traffic_of(
        make_job, "mixtral-8x7b", "tp=2,pp=2,ep=8,etp=2,micro_batch=1", devices=64, global_batch=64
    )
    experts = term(traffic, "ep")
    assert {group.places for group in experts.groups} == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert {group.ranks for group in experts.groups} == {(4, 4)}
    scored = scorer(traffic, np.full((8, 8), rate)).term_seconds(np.arange(8))
    by_axis = dict(zip([item.axis for item in traffic.terms], scored, strict=True))
    assert by_axis["ep"] == pytest.approx(seconds["ep"], rel=1e-6)


@pytest.mark.parametrize(
    ("what", "ranks", "first"),
    [
        ("gradients", 4, [[0, 2, 4, 6], [8, 10, 12, 14]]),
        ("gradients of other replicas", 2, [[0, 8], [2, 10]]),
        ("updated parameters", 4, [[0, 4, 8, 12], [2, 6, 10, 14]]),
    ],
)
def test_parts_of_the_replicas(make_job: MakeJob, what: str, ranks: int, first: list[list[int]]) -> None:
    """Eight replicas of two: shards of four lie side by side, their copies apart; every second one gathers."""
    job = make_job("llama3-8b", devices=16, framework="ideal")
    shard = (
        "shard={parameters: 2, gradients: 4, optimizer: 8}"
        if what == "updated parameters"
        else "zero_stage=0"
    )
    layout = parse_layout(f"tp=2,micro_batch=1,{shard}", job)
    row = CommunicationRow(
        what, "all_gather", "dp", "backward", ranks, (1.0, 1.0), "ring", 1.0, 1.0, 1.0, 0.0
    )
    groups = row_groups(layout, row)
    assert groups.shape[1] == ranks
    assert sorted(groups.ravel().tolist()) == list(range(16))
    assert [group for group in groups.tolist() if group in first] == first


def test_nodes_of_a_rack_are_nearer_than_others(make_job: MakeJob) -> None:
    """Racks of two nodes at 100 GB/s a device, between them 20: terms take what the plan says on exactly these rates."""
    job = make_job("llama3-8b", devices=32, global_batch=64, framework="megatron-core", per_node=4)
    inner, outer = job.cluster.network
    rack = replace(outer, name="rack", size=8, bandwidth=100e9)
    job = replace(job, cluster=replace(job.cluster, network=(inner, rack, replace(outer, bandwidth=20e9))))
    rates = file_rates(job.cluster, 9)
    assert rates[0, 1] == rates[7, 6] == pytest.approx(4 * 100e9 * 0.8)
    assert rates[1, 2] == rates[0, 7] == rates[7, 8] == pytest.approx(4 * 20e9 * 0.8)
    for knobs in ("tp=4,pp=4,micro_batch=1", "tp=4,pp=2,micro_batch=1", "tp=8,pp=2,micro_batch=1"):
        layout = parse_layout(knobs, job)
        prediction = predict(job, layout)
        traffic = plan_traffic(job, layout, prediction)
        found = scorer(traffic, rates[:8, :8]).term_seconds(np.arange(8))
        for item, seconds in zip(traffic.terms, found, strict=True):
            rows = [
                sum(row.seconds for row in rank.communication if row.axis == item.axis)
                for rank in prediction.ranks
            ]
            expected = prediction.time.exposed["pp"] if item.axis == "pp" else max(rows)
            assert seconds == pytest.approx(expected, rel=0.02), (knobs, item.label)


def test_one_node_has_nothing_to_place(make_job: MakeJob) -> None:
    job = make_job("llama3-8b", devices=8, framework="megatron-core")
    layout = parse_layout("tp=8,micro_batch=1", job)
    with pytest.raises(PlannerError, match="one node"):
        plan_traffic(job, layout, predict(job, layout))
