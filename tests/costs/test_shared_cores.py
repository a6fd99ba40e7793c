"""Devices that are cores of the host: nothing overlaps, and ranks that wait leave their core to the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from planner.costs.kernels import attention_seconds
from planner.costs.late import late_launches
from planner.costs.predict import predict
from planner.hardware.accelerators import load_accelerator
from planner.hardware.loader import load_cluster
from planner.jobs.loader import load_job
from planner.jobs.prediction import Prediction
from planner.layouts.layout import Layout


def machine(cores: int | None) -> dict[str, Any]:
    host = {} if cores is None else {"host": {"cores": cores}}
    network = [{"name": "loopback", "kind": "loopback"}]
    return {"accelerator": "cpu", "nodes": 1, "devices_per_node": 4, "network": network, **host}


def pipeline(cores: int | None) -> Prediction:
    """Four stages and two micro-batches: 1F1B waits three of five slots."""
    model = {"layers": 4, "hidden": 1024, "heads": 8, "ffn_hidden": 4096, "vocab": 512}
    training = {"global_batch": 2, "seq_len": 512, "precision": "fp32", "framework": "megatron-core"}
    job = load_job({"name": "four", "model": model, "cluster": machine(cores), "training": training})
    return predict(job, Layout(pp=4, micro_batch=1, micro_batches=2))


def test_a_core_launches_and_computes_one_after_the_other() -> None:
    device, host = np.array([3.0]), np.array([4.0])
    assert late_launches(device, host)[0] == pytest.approx(2.0)  # 5 = (9 + 16)^(1/2)
    assert late_launches(device, host, in_turns=True)[0] == 4.0


def test_no_traffic_hides_on_a_core() -> None:
    training = {"global_batch": 4, "seq_len": 64, "precision": "fp32", "framework": "torchtitan"}
    job = load_job(
        {"name": "two", "model": "llama3-8b", "cluster": "cpu-loopback", "training": training},
    )
    assert set(job.framework.hidden.model_dump().values()) == {0.0}


def test_processes_per_core_follow_from_the_cores_that_the_host_states() -> None:
    assert [load_cluster(machine(cores)).devices_per_core for cores in (None, 8, 4, 2, 1)] == [1, 1, 1, 2, 4]


def test_waiting_ranks_leave_their_core_to_the_others() -> None:
    own, shared = pipeline(4), pipeline(2)
    assert own.step_time_s == pipeline(None).step_time_s
    assert shared.time.compute_s == own.time.compute_s, "passes are priced with all processes busy"
    assert shared.step_time_s < 0.75 * own.step_time_s
    assert shared.step_time_s >= max(own.step_time_s / 2.0, own.step_time_s - own.time.bubble_s) * 0.99


@pytest.mark.parametrize("tokens", [16.0, 64.0, 256.0, 1024.0])
def test_a_causal_mask_never_costs_more_than_the_whole_square(tokens: float) -> None:
    accelerator = load_accelerator("h100-sxm-80gb")
    square = np.array([1e12])

    def seconds(flops: np.ndarray, causal: bool) -> float:
        found = attention_seconds(
            flops, square, accelerator, "bf16", "flash3", backward=False, tokens=tokens, causal=causal
        )
        return float(found[0])

    assert seconds(square / 2.0, True) <= seconds(square, False) * (1 + 1e-12)
