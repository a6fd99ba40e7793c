"""Hops and bounds of pipelines over groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.hops import HopTimes, exposed_hops, hop_times
from planner.costs.prices import price_model
from planner.costs.stages import stage_groups
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.solvers.mixed.candidates import candidates, side_of
from planner.solvers.mixed.links import pipeline_hops
from planner.solvers.mixed.ways import ways_of
from tests.solvers.mixed.small import group, mixed


@pytest.mark.parametrize(("ranks", "micro_batches"), [(2, 1), (2, 8), (4, 4), (4, 16)])
@pytest.mark.parametrize("passes_s", [0.0, 1e3])
def test_equal_hops_are_those_of_one_cluster(
    make_job: Any, ranks: int, micro_batches: int, passes_s: float
) -> None:
    """Short ones are waited for as in ``costs.hops``; long ones fill the link for as long as there, whatever the passes."""
    job = make_job({"preset": "llama3-8b", "layers": 4}, ranks, micro_batches, per_node=ranks)
    row = from_layouts([Layout(pp=ranks, micro_batches=micro_batches)])
    prices = price_model(job, row).rows(row)
    stages = next(stage_groups(row, job.model))
    hop = hop_times(job, row, prices, stages)
    hops = pipeline_hops(job, row.columns["pp"], row.columns["micro_batches"], hop, (ranks - 1) * hop.total)
    expected = exposed_hops(job, row, prices, stages, np.array([passes_s]))
    assert np.maximum(hops.waited, hops.filled - passes_s) == pytest.approx(expected, rel=1e-12)


def test_of_unequal_hops_the_longest_recurs() -> None:
    """Three stages, five micro-batches, nothing hidden: there and back once over each hop, and the longest 2 x 2 times more."""
    job = mixed(group("a", 1), group("b", 1), overlap={"pp": 0.0}).jobs[0]
    three, five = np.array([3]), np.array([5])
    longest = HopTimes(np.array([2.0]), np.array([1.5]))
    hops = pipeline_hops(job, three, five, longest, np.array([2.0 + 0.5]))
    assert hops.waited == pytest.approx([2 * 2.5 + 2 * 2 * 2.0])
    assert hops.filled == pytest.approx([5 * 2 * 1.5 + 2 * 0.5])


def test_a_message_between_groups_takes_its_bytes_over_the_link() -> None:
    """fp16 activations of one sequence: 2048 tokens x 4096 hidden x 2 bytes at 1 GB/s."""
    level = {"bandwidth": "1 GB/s", "latency": "0 us", "efficiency": 1.0}
    job = mixed(group("a", 1), group("b", 1), between=level, search={"fix": {"micro_batch": 1}})
    ways = ways_of(job.jobs[0])
    assert ways is not None
    side = side_of(job, 0, ways)
    wire = 2048 * 4096 * 2 / 1e9
    assert wire <= side.crossing[1].sending[0] <= 1.05 * wire
    assert side.inner.total[0] == 0.0


def test_candidates_share_micro_batches_and_have_a_layer_per_stage() -> None:
    job = mixed(group("a", 4), group("b", 2, speed=0.5), batch=8)
    sides = {}
    for place, part in enumerate(job.jobs):
        ways = ways_of(part)
        assert ways is not None
        sides[place] = side_of(job, place, ways)
    found = candidates(sides, (1, 0))
    assert len(found)
    assert int(found.stages.max()) <= 4
    for place, column in zip((1, 0), found.ways.T, strict=True):
        assert (sides[place].ways.micro_batches[column] == found.micro_batches).all()
