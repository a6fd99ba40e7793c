"""What two large trainings report about their interruptions, from their published figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.jobs.loader import load_job
from planner.simulator.failures.analytic import best_interval, expected_goodput
from planner.simulator.failures.checkpoint import checkpoint_bytes
from planner.simulator.failures.model import FailureModel
from planner.simulator.failures.monte_carlo import simulate_runs
from planner.simulator.failures.options import LLAMA3_DEVICE_MTBF_S
from tests.simulator.failures.clusters import DAY_S, job

MINUTE = 60.0


def megascale(weeks: float, restart_s: float) -> FailureModel:
    """12,288 GPUs that fail 115 times in so many weeks; a snapshot of ten seconds.

    MegaScale (arXiv 2402.15627): detection and diagnosis below 10 min, more than 100 restarts over weeks.
    """
    return FailureModel(
        devices=12_288,
        devices_per_node=8,
        device_mtbf_s=12_288 * weeks * 7 * DAY_S / 115,
        checkpoint_s=10.0,
        detect_s=10 * MINUTE,
        restart_s=restart_s,
    )


@pytest.mark.parametrize("weeks", [3.5, 5.0, 8.0])
def test_megascale_is_effective_nine_tenths_of_the_time(weeks: float) -> None:
    # catching up takes 15 min: restart 5 min and on average half of the 20 min between checkpoints
    model = megascale(weeks, restart_s=5 * MINUTE)
    runs = simulate_runs(model, 20 * MINUTE, horizon_s=weeks * 7 * DAY_S, runs=300, seed=1)
    assert runs.spread("restarts")["mean"] > 100
    assert runs.goodput > 0.90
    assert abs(runs.goodput - expected_goodput(model, 20 * MINUTE)) <= 4 * runs.standard_error
    catching_up = (runs.parts["lost_work"] + runs.parts["restart"]).sum() / runs.restarts.sum()
    assert catching_up < 15 * MINUTE


def test_megascale_needed_its_fast_communicators() -> None:
    # before their fix setting up communicators took 1,047 s at 2,048 GPUs already
    slow = megascale(3.5, restart_s=5 * MINUTE + 1047.0)
    runs = simulate_runs(slow, 20 * MINUTE, horizon_s=3.5 * 7 * DAY_S, runs=300, seed=1)
    assert runs.goodput < 0.90


def test_llama_3_s_interruptions() -> None:
    # 16,384 x 54 x 24 h / 419 = 50,677 h of one device; one interruption in 3.09 h
    assert round(LLAMA3_DEVICE_MTBF_S / 3600) == 50_677
    model = job(16_384, checkpoint_s=3.0, detect_s=5 * MINUTE, restart_s=5 * MINUTE)
    assert model.job_mtbf_s / 3600 == pytest.approx(3.093, abs=5e-4)
    runs = simulate_runs(model, best_interval(model), horizon_s=54 * DAY_S, runs=200, seed=2)
    assert abs(runs.spread("failures")["mean"] - 419) <= 4 * (419 / 200) ** 0.5
    assert runs.goodput > 0.90


def test_llama_3_s_nine_tenths_leave_a_quarter_of_an_hour_for_each_recovery() -> None:
    quick, slow = (job(16_384, checkpoint_s=3.0, detect_s=x, restart_s=x) for x in (6 * MINUTE, 9 * MINUTE))
    assert expected_goodput(quick, best_interval(quick)) > 0.90 > expected_goodput(slow, best_interval(slow))


def test_the_checkpoint_of_megatron_s_trillion(examples: Path) -> None:
    # Megatron-LM (arXiv 2104.04473): the 1T model's checkpoint has 13.8 TB
    assert checkpoint_bytes(load_job(examples / "megatron-1t-a100.yaml")) == pytest.approx(13.8e12, rel=0.03)
