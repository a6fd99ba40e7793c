"""Host work of layers with experts: launches per expert, partial graphs, the wait for the router's counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.costs.host import PREPROCESS_LAUNCHES, ROUTER_LAUNCHES, HostWork, host_work, routed_wait_s
from planner.costs.operators import operator_cost
from planner.costs.sizes import Sizes
from planner.jobs.types import Job
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.sharding import Pattern, derive
from tests.costs.samples import MOE

US = 1e-6


def _timed(job: Job, operator_us: float, expert_us: float) -> Job:
    """The job under a profile with the same host time for every launch."""
    host = job.framework.host.model_copy(
        update={
            "forward_operator_s": operator_us * US,
            "backward_operator_s": operator_us * US,
            "expert_s": expert_us * US,
        }
    )
    return replace(job, framework=job.framework.model_copy(update={"host": host}))


def _work(job: Job, ep: int, *, backward: bool) -> HostWork:
    block = next(block for name, block in job.model.blocks.items() if "moe" in name)
    sizes = Sizes(from_layouts([Layout(ep=ep, dp=8, micro_batch=1)]), job, block)
    derivation = derive(block, Pattern(ep=ep > 1))
    costs = {o.name: operator_cost(o, block, derivation, sizes) for o in block.operators}
    return host_work(block, costs, sizes, block.operators, backward=backward)


@pytest.mark.parametrize(("precision", "launches"), [("bf16", 6.0), ("mxfp8", 12.0)])
def test_every_local_expert_launches_each_product_and_casts_by_block(
    make_job: Any, precision: str, launches: float
) -> None:
    """16 experts on 4 ranks: 4 local ones; two products forward, four backward; block scales cast before each."""
    job = _timed(make_job(MOE, devices=8), 0.0, 10.0)
    job = replace(job, training=replace(job.training, precision=precision))
    if precision not in job.cluster.accelerator.peak_flops:
        peaks = dict(job.cluster.accelerator.peak_flops) | {precision: 6e14}
        faster = replace(job.cluster.accelerator, peak_flops=peaks)
        job = replace(job, cluster=replace(job.cluster, accelerator=faster))
    total = sum(float(_work(job, 4, backward=b).total[0]) for b in (False, True))
    assert total == pytest.approx(4 * launches * 10 * US)


def test_the_host_waits_for_the_counts_of_dropless_routing_in_forward_only(make_job: Any) -> None:
    job = _timed(make_job(MOE, devices=8), 0.0, 10.0)
    assert _work(job, 4, backward=False).routed[0] == pytest.approx(4 * 2 * 10 * US)
    assert _work(job, 4, backward=True).routed[0] == 0.0
    dropping = replace(
        job, training=replace(job.training, moe=replace(job.training.moe, capacity_factor=1.25))
    )
    assert _work(dropping, 4, backward=False).routed[0] == 0.0


def test_device_that_runs_dry_waits_for_the_launches_of_experts() -> None:
    """8 ms of launches behind the wait, 5 ms of kernels for them: 3 ms are lost however long the rest of the pass is."""
    work = HostWork(total=np.array([9e-3, 9e-3, 9e-3]), routed=np.array([8e-3, 4e-3, 0.0]))
    assert routed_wait_s(work, np.array([5e-3, 5e-3, 0.0])) == pytest.approx([3e-3, 0.0, 0.0])


def test_graphs_take_launches_off_the_host(make_job: Any) -> None:
    job = _timed(make_job(MOE, devices=8), 10.0, 0.0)

    def launches(*capture: str) -> float:
        captured = replace(job, training=replace(job.training, capture=capture or False))
        return float(_work(captured, 4, backward=False).total[0]) / (10 * US)

    router_matmul, router, replay = 1.0, 1.0, 1.0
    saved = launches() - launches("moe_router")
    assert saved == pytest.approx(router_matmul + router + ROUTER_LAUNCHES[0] - replay)
    assert launches() - launches("moe_preprocess") == pytest.approx(PREPROCESS_LAUNCHES[0] - replay)
    assert launches("attn", "moe_router", "moe_preprocess") < 0.5 * launches()
    whole = replace(job, training=replace(job.training, capture=True))
    assert _work(whole, 4, backward=False).total[0] == 0.0
