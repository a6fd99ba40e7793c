"""The optimizer's update: bytes streamed, and Muon's orthogonalisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.optimizer import newton_schulz_flops, update_seconds
from planner.costs.stages import stage_groups
from planner.costs.states import shard_groups, state_bytes
from planner.layouts.layout import Layout, Shard
from planner.layouts.layouts import from_layouts

SQUARE = {"layers": 1, "hidden": 4096, "heads": 32, "ffn_hidden": 4096, "vocab": 1024, "norm": "none"}


def test_muon_takes_half_a_percent_of_a_step_of_four_million_tokens(make_job: Any) -> None:
    """6 matrices of 4096 x 4096: 5 (4 + 2) m^3 each over 6 m^2 FLOPs per token, 0.5 % at 4M tokens (30 m / 6 T)."""
    job = make_job(SQUARE, devices=1)
    row = from_layouts([Layout()])
    stage = next(stage_groups(row, job.model)).classes[0]
    flops = newton_schulz_flops(job, row, stage, shard_groups(row))[0]
    assert flops == 6 * 30 * 4096.0**3
    assert flops / (6 * 6 * 4096.0**2 * 4e6) == pytest.approx(0.005, rel=0.03)


def test_muon_is_shared_by_the_optimizer_group_and_keeps_half_the_state(make_job: Any) -> None:
    job = make_job(SQUARE, devices=8, training={"optimizer": "muon"})
    adam = replace(job, training=replace(job.training, optimizer="adamw"))
    rows = from_layouts([Layout(dp=8), Layout(dp=8, shard=Shard(optimizer=8)), Layout(tp=8)])
    stage = next(stage_groups(rows, job.model)).classes[0]
    groups = shard_groups(rows)
    whole, sharded, tensor = newton_schulz_flops(job, rows, stage, groups)
    assert whole / sharded == pytest.approx(8.0)
    assert whole / tensor == pytest.approx(8.0)
    elements = rows.columns["tp"] * 0.0 + 1e8
    muon, other = (state_bytes(j, groups, elements, elements * 0) for j in (job, adam))
    # master weights 4 bytes and one momentum of 4 against two moments of 4
    assert muon.optimizer[0] / other.optimizer[0] == pytest.approx(8 / 12)
    slower = update_seconds(job, rows, stage, groups, muon) > update_seconds(adam, rows, stage, groups, other)
    assert slower.all()
