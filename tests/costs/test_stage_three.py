"""DeepSpeed's stage 3: its collectives by tensor, counted by hand for GPT layers, and what each rank adds to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planner.costs.evaluate import step_times
from planner.costs.predict import predict
from planner.costs.replicas import SMALL, USED, Flow, replica_flows
from planner.costs.shard_units import Part, StageParts
from planner.costs.states import shard_groups
from planner.jobs.framework import load_framework
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.layouts.layouts import from_layouts
from tests.statements.jobs import MEGATRON_2021, gpt, job, legal

HIDDEN, LAYERS = 12288, 4


def work(framework: str, hidden: int = HIDDEN, devices: int = 16) -> Job:
    """A GPT of four layers."""
    settings = MEGATRON_2021 | {"framework": framework}
    return job(gpt(LAYERS, hidden, hidden // 128), "a100-superpod", devices, devices, **settings)


def moved(framework: str, recompute: str, hidden: int = HIDDEN) -> dict[tuple[str, str], tuple[float, float]]:
    """(what, pass) -> (calls, elements) of the layers, each of them two bytes wide."""
    target = work(framework, hidden)
    prediction = predict(target, legal(target, f"zero_stage=3,micro_batch=1,recompute={recompute}"))
    per_layer: dict[tuple[str, str], tuple[float, float]] = {}
    for row in prediction.communication:
        calls, elements = per_layer.get((row.what, row.pass_), (0.0, 0.0))
        if row.calls_per_step >= LAYERS or row.what == SMALL:
            nbytes = row.calls_per_step * row.bytes_per_call
            per_layer[row.what, row.pass_] = (calls + row.calls_per_step, elements + nbytes / 2)
    return per_layer


def test_2021_gathers_each_matrix_for_each_pass_and_keeps_vectors() -> None:
    """Four matrices of 12 h^2 elements; biases of q, k, v together, projection and both of the MLP, and two norms: 13 h."""
    h, found = HIDDEN, moved("deepspeed-2021", "full")
    assert found[USED, "forward"] == (4 * LAYERS, 12 * h**2 * LAYERS)
    assert found[USED, "backward"] == (8 * LAYERS, 24 * h**2 * LAYERS)
    assert found["gradients", "backward"] == (12 * LAYERS, pytest.approx((12 * h**2 + 13 * h) * LAYERS))
    assert moved("deepspeed-2021", "none")[USED, "backward"] == (4 * LAYERS, 12 * h**2 * LAYERS)


def test_2021_gathers_all_vectors_once_after_the_update() -> None:
    """Of the layers, and of the last norm: all below 100,000 elements."""
    assert moved("deepspeed-2021", "full")[SMALL, "optimizer"] == (1, 13 * HIDDEN * LAYERS + 2 * HIDDEN)


@pytest.mark.parametrize(("hidden", "again"), [(6144, 0), (8192, 4), (12288, 8)])
def test_today_lets_go_what_is_used_a_billion_elements_later(hidden: int, again: int) -> None:
    """Between recompute and backward of the attention's output lie 16 h^2 elements, of the MLP's first matrix 8 h^2."""
    backward = moved("deepspeed", "full", hidden)[USED, "backward"][1]
    matrices = 12 + again
    assert backward / LAYERS / hidden**2 == pytest.approx(matrices, rel=2e-3)
    assert moved("deepspeed", "none", hidden)[USED, "backward"][1] / LAYERS / hidden**2 == pytest.approx(
        12, rel=2e-3
    )


@pytest.mark.parametrize(
    ("framework", "ranks"),
    [
        ("deepspeed", {"forward": [16], "backward": [8]}),
        ("deepspeed-2023", {"forward": [16], "backward": [8, 16]}),
    ],
)
def test_recompute_gathers_over_all_ranks_where_it_passes_for_a_forward(
    framework: str, ranks: dict[str, list[int]]
) -> None:
    """hpZ over nodes of eight of two: the old releases gather the layer for recompute once more from all sixteen."""
    target = work(framework)
    shards = "shard={parameters:16,gradients:16,optimizer:16,parameters_secondary:8}"
    rows = predict(target, legal(target, f"micro_batch=1,recompute=full,{shards}")).communication
    layers = [row for row in rows if row.what == USED and row.calls_per_step >= LAYERS]
    found = {name: sorted(row.ranks for row in layers if row.pass_ == name) for name in ranks}
    assert found == ranks
    again = sum(row.bytes_per_call * row.calls_per_step for row in layers if row.pass_ == "backward")
    assert again / LAYERS == pytest.approx((12 + 8) * HIDDEN**2 * 2, rel=2e-3)


def test_other_releases_share_what_they_do_not_state() -> None:
    today, old = (load_framework(name) for name in ("deepspeed", "deepspeed-2021"))
    assert (old.name, old.states, old.buffers) == ("deepspeed-2021", today.states, today.buffers)
    assert (old.hidden.dp_gather, old.zero_stages) == (0.0, (3,))


def of_layer(target: Job) -> dict[str, Flow]:
    """Flows of one layer of four matrices of h^2 and 8 vectors of h elements, by occasion."""
    row = from_layouts([parse_layout("zero_stage=3,micro_batch=1,recompute=none", target)])
    elements, small = np.array([4.0 * HIDDEN**2 + 8 * HIDDEN]), np.array([8.0 * HIDDEN])
    part = Part(elements, 4.0, small=small, small_count=8.0)
    nothing = (Part(np.zeros(1), 1.0),)
    flows = replica_flows(target, row, shard_groups(row), StageParts((part,), nothing))
    return {flow.occasion: flow for flow in flows if flow.nbytes[0] > 0}


def test_every_rank_adds_its_copy_to_every_list() -> None:
    """4 lists of matrices in a forward, 8 of vectors after the update, 12 of gradients; 10 us for each of 16 ranks."""
    target = work("deepspeed-2021")
    stage = target.framework.stage_three
    assert stage is not None
    assert stage.by_tensor is not None
    free = stage.model_copy(update={"by_tensor": stage.by_tensor.model_copy(update={"rank_s": 0.0})})
    without = replace(target, framework=target.framework.model_copy(update={"stage_three": free}))
    paid, unpaid = of_layer(target), of_layer(without)
    for occasion, lists in (("forward_gather", 4), ("backward_gather", 4), ("step_gather", 8)):
        more = paid[occasion].copies_s - unpaid[occasion].copies_s
        assert more[0] == pytest.approx(lists * 16 * 10e-6)
    more = paid["micro_reduce"].seconds - unpaid["micro_reduce"].seconds
    assert more[0] == pytest.approx(12 * 16 * 10e-6)


def test_gradients_pass_memory_six_times_before_they_are_scattered() -> None:
    target = work("deepspeed")
    assert target.framework.stage_three is not None
    free = target.framework.stage_three.model_copy(update={"scatter_passes": 0.0})
    without = replace(target, framework=target.framework.model_copy(update={"stage_three": free}))
    more = of_layer(target)["micro_reduce"].seconds - of_layer(without)["micro_reduce"].seconds
    bandwidth = target.cluster.accelerator.memory_bandwidth
    traffic = 6 * 2.0 * (4 * HIDDEN**2 + 8 * HIDDEN)
    assert traffic / bandwidth < more[0] < traffic / bandwidth / 0.7


def test_2021_falls_behind_as_ranks_are_added() -> None:
    """The same work on each device: lists grow with the ranks, gathers of whole layers hardly take longer."""

    def slower(framework: str) -> float:
        times = []
        for devices in (64, 1024):
            target = work(framework, devices=devices)
            layout = legal(target, "zero_stage=3,micro_batch=1,recompute=full")
            times.append(float(step_times(target, from_layouts([layout]))[0]))
        return times[1] / times[0]

    assert slower("deepspeed") < 1.1
    assert slower("deepspeed-2021") > 1.5
