"""Hardware figures by name: read, changed, refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.jobs.figures import figures, with_figures

TINY = {"preset": "llama3-8b", "layers": 4}


def test_figures_are_those_of_the_cluster(make_job: Any) -> None:
    """Against the values that the fixture's cluster is made of."""
    found = figures(make_job(TINY, 16, 16, per_node=8))
    values = {name: figure.value for name, figure in found.items()}
    assert values == {
        "peak_flops": 3e14,
        "peak_flops.bf16": 3e14,
        "peak_flops.fp16": 3e14,
        "peak_flops.fp32": 2e13,
        "memory": 80e9,
        "memory_bandwidth": 2e12,
        "nvlink.bandwidth": 300e9,
        "nvlink.latency": 2e-6,
        "infiniband.bandwidth": 25e9,
        "infiniband.latency": 5e-6,
        "host.link": 25e9,
        "host.memory": 2e12,
        "kernel_start": 5e-6,
    }
    assert {name for name, figure in found.items() if not figure.more_is_better} == {
        "nvlink.latency",
        "infiniband.latency",
        "kernel_start",
    }
    assert figures(make_job(TINY, 8, 16, framework="fsdp"))["launch"].value == 25e-6


def test_each_figure_changes_itself_and_what_moves_with_it(make_job: Any) -> None:
    job = make_job(TINY, 16, 16, per_node=8, framework="fsdp")
    before = {name: figure.value for name, figure in figures(job).items()}
    for name, value in before.items():
        after = {
            other: figure.value for other, figure in figures(with_figures(job, {name: 3 * value})).items()
        }
        moved = {other for other in before if after[other] != before[other]}
        if name == "peak_flops":
            assert moved == {other for other in before if other.startswith("peak_flops")}
        elif name == "peak_flops.bf16":
            assert moved == {"peak_flops", "peak_flops.bf16"}
        else:
            assert moved == {name}
        assert all(after[other] == pytest.approx(3 * before[other]) for other in moved)
    host = with_figures(job, {"launch": 50e-6}).framework.host
    assert (host.forward_operator_s, host.backward_operator_s) == pytest.approx((50e-6, 60e-6))


def test_starts_of_collectives_are_figures_where_they_were_measured(make_job: Any) -> None:
    job = make_job(TINY, 8, 16)
    (level,) = job.cluster.network
    level = replace(level, start_s=2e-5, message_start_s=1e-5)
    measured = replace(job, cluster=replace(job.cluster, network=(level,)))
    assert figures(measured)["nvlink.start"].value == 2e-5
    (after,) = with_figures(measured, {"nvlink.start": 1e-5}).cluster.network
    assert (after.start_s, after.message_start_s) == pytest.approx((1e-5, 5e-6))


def test_an_unknown_figure_names_the_nearest(make_job: Any) -> None:
    with pytest.raises(PlannerError, match=r"did you mean 'infiniband\.bandwidth'") as caught:
        with_figures(make_job(TINY, 16, 16), {"infinband.bandwidth": 1e9})
    assert caught.value.field == "infinband.bandwidth"
    with pytest.raises(PlannerError, match="more than 0"):
        with_figures(make_job(TINY, 16, 16), {"memory": 0.0})
