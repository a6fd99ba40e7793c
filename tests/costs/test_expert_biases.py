"""Biases and clamped activations of experts where no kernel fuses them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.expert_biases import with_expert_biases
from planner.costs.operators import OperatorCost, operator_cost
from planner.costs.sizes import Sizes
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.sharding import Pattern, derive
from tests.costs.samples import MOE

BIASED = MOE | {"moe": {**MOE["moe"], "expert_bias": True, "activation_limit": 7.0}}  # type: ignore[dict-item]


def _added(job: Job, name: str) -> tuple[OperatorCost, OperatorCost]:
    block = next(block for name, block in job.model.blocks.items() if "moe" in name)
    sizes = Sizes(from_layouts([Layout(ep=4, dp=8, micro_batch=2)]), job, block)
    derivation = derive(block, Pattern(ep=True))
    operator = next(o for o in block.operators if o.name == name)
    plain = operator_cost(operator, block, derivation, sizes)
    return plain, with_expert_biases(plain, operator, block, derivation, sizes)


@pytest.mark.parametrize(
    ("name", "width", "forward", "backward", "launches"),
    [
        # rows of hidden: 4 + 10 + 8 + 6 bytes forward, 6 + 6 + 12 + 12 + 4 backward; 4 local experts
        ("experts_down", 1024, 28, 40, (2 * 4, 6 * 4)),
        # gate and value of 1024 each: read and written by the clamp and by the concatenation
        ("experts_activation", 2048, 8, 10, (2, 6)),
    ],
)
def test_bytes_and_launches_by_hand(
    make_job: Any, name: str, width: int, forward: int, backward: int, launches: tuple[int, int]
) -> None:
    job = make_job(BIASED, devices=8, seq_len=4096, framework="megatron-core")
    plain, biased = _added(job, name)
    rows = 2 * 4096 * 2  # sequences x tokens x top-k; a balanced rank receives as many as it sends
    kernels = job.cluster.accelerator.kernels
    rate = job.cluster.accelerator.memory_bandwidth * kernels.memory_efficiency
    more = biased.forward_s[0] - plain.forward_s[0]
    assert more == pytest.approx(rows * width * forward / rate, rel=0.01)
    more = biased.input_gradient_s[0] - plain.input_gradient_s[0]
    assert more == pytest.approx(rows * width * backward / rate, rel=0.01)
    assert biased.launches_forward[0] - plain.launches_forward[0] == launches[0]
    assert biased.launches_backward[0] - plain.launches_backward[0] == launches[1]


@pytest.mark.parametrize("name", ["experts_up", "attention_output", "dispatch"])
def test_other_operators_stay_as_they_are(make_job: Any, name: str) -> None:
    plain, biased = _added(make_job(BIASED, devices=8, framework="megatron-core"), name)
    assert biased is plain


def test_experts_without_biases_cost_nothing_more(make_job: Any) -> None:
    plain, biased = _added(make_job(MOE, devices=8, framework="megatron-core"), "experts_down")
    assert biased is plain


def test_kernels_of_whole_iteration_graphs_fuse_them(make_job: Any) -> None:
    job = make_job(BIASED, devices=8, framework="megatron-core")
    captured = replace(job, training=replace(job.training, capture=True))
    plain, biased = _added(captured, "experts_down")
    assert biased is plain
