"""The study of one job: consistent figures, a table around the best interval, refusals in words."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.jobs.types import Job
from planner.simulator.failures.analytic import expected_goodput
from planner.simulator.failures.checkpoint import checkpoint_bytes, checkpoint_cost
from planner.simulator.failures.options import failure_options
from planner.simulator.failures.study import study
from tests.conftest import MakeJob

DENSE = {"layers": 4, "hidden": 1024, "heads": 16, "ffn_hidden": 4096, "vocab": 32000}
STEP_S = 10.0


@pytest.fixture(scope="module")
def small(make_job: MakeJob) -> Job:
    return make_job(DENSE, devices=1024, framework="megatron-core")


def options(**changes: str) -> Any:
    return failure_options(**{"mtbf": "50000 h", "checkpoint_seconds": "20 s", "runs": "50", **changes})


def test_figures_agree_with_each_other(small: Job) -> None:
    found = study(small, STEP_S, options(), mfu=0.4)
    assert found.model.job_mtbf_s == pytest.approx(50_000 * 3600 / 1024)
    assert found.goodput == found.expected
    assert found.expected_step_time_s == pytest.approx(STEP_S / found.goodput)
    assert found.effective_mfu == pytest.approx(0.4 * found.goodput)
    assert found.device_hours_lost == pytest.approx((1 - found.goodput) * 1024 * 30 * 24)
    assert found.interval_s == found.best_interval_s
    intervals = [row.interval_s for row in found.table]
    assert intervals == sorted(intervals)
    assert len(intervals) >= 7
    for row in found.table:
        assert row.expected == expected_goodput(found.model, row.interval_s) != row.simulated
        assert row.low < row.simulated < row.high
    assert max(found.table, key=lambda row: row.expected).interval_s == found.best_interval_s
    assert found.table[0].interval_s < found.simulated_best_s < found.table[-1].interval_s


def test_with_few_spares_the_simulation_counts(small: Job) -> None:
    found = study(small, STEP_S, options(spares="0"))
    assert found.goodput == found.runs.goodput < found.expected
    assert found.effective_mfu is None
    assert found.runs.shares["waiting"] > 0


def test_the_json_is_plain(small: Job) -> None:
    plain = study(small, STEP_S, options(checkpoint_interval="30 min", spares="4"), mfu=0.4).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["interval_s"] == 1800.0
    assert sum(plain["simulated"]["shares"].values()) == pytest.approx(1.0)
    assert 1800.0 in [row["interval_s"] for row in plain["intervals"]]
    assert plain["simulated"]["runs"] == 50
    assert plain["spares"] == 4


def test_progress_goes_forward(small: Job) -> None:
    calls: list[tuple[float, str]] = []
    study(small, STEP_S, options(), progress=lambda done, message: calls.append((done, message)))
    done = [fraction for fraction, _ in calls]
    assert done == sorted(done)
    assert done[0] >= 0.0
    assert done[-1] <= 1.0
    assert all("50 runs" in message for _, message in calls)


def test_a_checkpoint_holds_weights_master_and_moments_once(small: Job) -> None:
    # Megatron-Core in bf16: 2 + 4 + 8 bytes per parameter
    assert checkpoint_bytes(small) == pytest.approx(14.0 * small.model.parameter_count)
    cost = checkpoint_cost(small, 1e9)
    assert cost.seconds == pytest.approx(cost.state_bytes / (128 * 1e9))  # 128 nodes of 8 write together
    assert checkpoint_cost(small, 1e9, 42.0).seconds == 42.0


def test_the_cluster_s_own_mtbf_is_used(small: Job) -> None:
    known = replace(small, cluster=replace(small.cluster, mtbf_s=1e8))
    found = study(known, STEP_S, failure_options(runs="10"))
    assert found.model.device_mtbf_s == 1e8
    assert any("the cluster's" in line for line in found.assumptions)
    assert study(known, STEP_S, options()).model.device_mtbf_s == 1.8e8


def test_every_default_is_named_until_it_is_replaced(small: Job) -> None:
    assert len(study(small, STEP_S, failure_options(mtbf="50000 h", runs="10")).assumptions) == 5
    said = options(checkpoint_background="1 s", detect="1 min", restart="1 min", spares="3", repair="1 h")
    assert study(small, STEP_S, said).assumptions == ()


def test_unknown_mtbf_is_asked_for(small: Job) -> None:
    with pytest.raises(PlannerError, match=r"^--mtbf: the cluster gives no mean time .* 50,677 h"):
        study(small, STEP_S, failure_options())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"checkpoint_interval": "31 d"},
            r"^--checkpoint-interval: found 31\.0 d; accepted: from 10 s .* to 30\.0 d",
        ),
        ({"checkpoint_interval": "5 s"}, r"^--checkpoint-interval: found 5 s; accepted: from 10 s"),
        (
            {"checkpoint_interval": "60 s", "checkpoint_background": "90 s"},
            r"^--checkpoint-interval: found 60 s; accepted: from 90 s",
        ),
        (
            {"checkpoint_background": "40 d"},
            r"^--checkpoint-background: found 40\.0 d, longer than the horizon",
        ),
        ({"days": "1 s"}, r"^--days: found 1 s, shorter than one step of 10 s"),
        ({"runs": "1B"}, r"^--runs: found 1000000000"),
        ({"days": "1e7"}, r"^--days: .* failures are expected within one run"),
    ],
)
def test_options_that_do_not_fit_the_job(small: Job, changes: dict[str, str], message: str) -> None:
    with pytest.raises(PlannerError, match=message):
        study(small, STEP_S, options(**changes))


def test_checkpoints_that_last_longer_than_the_job_lives(small: Job) -> None:
    with pytest.raises(
        NoAnswerError, match=r"the job makes no progress: it fails every .*no interval reaches 1 %"
    ):
        study(small, STEP_S, options(mtbf="500 h", checkpoint_seconds="3 h"))


def test_steps_longer_than_the_best_interval(small: Job) -> None:
    found = study(small, 20_000.0, options())
    assert found.best_interval_s == 20_000.0
    assert found.table[0].interval_s == 20_000.0
