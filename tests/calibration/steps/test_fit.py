"""Runs made by known constants: which ones, and where prediction and measurement part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.calibration.fit.constants import Key
from planner.calibration.fit.scopes import with_values
from planner.calibration.steps.components import components, timed_parts
from planner.calibration.steps.fit import fit_steps
from planner.calibration.steps.runs import OwnRun, seconds_of
from planner.calibration.steps.series import Steady
from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout

LAYOUTS = (
    "zero_stage=3,recompute=full",
    "tp=2,zero_stage=3,recompute=full",
    "tp=4,zero_stage=3,recompute=full",
    "tp=8,recompute=full",
    "pp=4,grad_accum=16,zero_stage=2,recompute=full",
)


@pytest.fixture(scope="module")
def job(examples: Path) -> Job:
    return load_job(examples / "llama3-8b-h100.yaml", overrides={"training.global_batch": 64})


def run_of(job: Job, knobs: str, seconds: float, file: Path) -> OwnRun:
    return OwnRun(knobs, file, 1, job, parse_layout(knobs, job), Steady(seconds, 0.0, 1))


def made_by(job: Job, truth: Job, knobs: str, file: Path) -> OwnRun:
    return run_of(job, knobs, predict(truth, parse_layout(knobs, truth)).step_time_s, file)


def test_constants_that_made_the_runs_are_found(job: Job, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("x")
    rate = job.cluster.accelerator.kernels.matmul_efficiency["bf16"]
    key = Key("accelerator", "h100-sxm", "matmul_efficiency.16bit")
    truth = with_values(job, {key: 0.84 * rate})
    runs = [made_by(job, truth, knobs, file) for knobs in LAYOUTS[1:4]]
    found = fit_steps(runs, [file])
    measured = [run.step.seconds for run in runs]
    before = max(abs(a / b - 1) for a, b in zip(found.before, measured, strict=True))
    after = max(abs(a / b - 1) for a, b in zip(found.after, measured, strict=True))
    assert before > 0.08
    assert after < 0.03
    moved = {m.key: m for m in found.moved}
    assert moved[key].spreads == min(m.spreads for m in found.moved)
    assert found.calibration.data == "steps"
    assert "matmul_efficiency.16bit" in found.calibration.accelerators["h100-sxm"].constants


def test_one_layout_moves_the_framework_alone_and_tells_nothing_apart(job: Job, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("x")
    layout = parse_layout(LAYOUTS[0], job)
    found = fit_steps([run_of(job, LAYOUTS[0], 1.1 * predict(job, layout).step_time_s, file)], [file])
    assert not found.calibration.accelerators
    assert not found.calibration.networks
    assert all(moved.key.kind == "framework" for moved in found.moved)
    assert [set(group) for group in found.alike] == [{moved.key for moved in found.moved}]


def test_runs_as_predicted_move_nothing(job: Job, tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    file.write_text("x")
    found = fit_steps([made_by(job, job, knobs, file) for knobs in LAYOUTS[:2]], [file])
    assert all(abs(moved.spreads) < 0.02 for moved in found.moved)
    assert not any(found.calibration.sections().values())


def test_the_component_that_is_wrong_explains_the_difference(job: Job, tmp_path: Path) -> None:
    layout = parse_layout("tp=8,recompute=full", job)
    prediction = predict(job, layout)
    exposed = prediction.time.exposed["tp"]
    run = run_of(job, "tp=8,recompute=full", prediction.step_time_s + exposed, tmp_path)
    found = {part.name: part for part in components(run, prediction)}
    assert found["exposed tp"].factor == pytest.approx(2.0)
    assert found["exposed tp"].possible
    assert found["compute"].factor == pytest.approx(1 + exposed / prediction.time.compute_s)
    slow = components(replace(run, step=Steady(100 * prediction.step_time_s, 0.0, 1)), prediction)
    assert not any(part.possible for part in slow if part.name in ("compute", "host", "optimizer"))


def test_timers_stand_beside_the_prediction(job: Job) -> None:
    prediction = predict(job, parse_layout("tp=8,recompute=full", job))
    timers = {"forward-compute": 1.0, "backward-compute": 2.0, "forward-backward": 3.5, "optimizer": 0.1}
    found = {part.name: part for part in timed_parts(timers, prediction)}
    assert found["work of the passes"].measured_s == 3.0
    assert found["pipeline"].measured_s == 0.5
    assert found["optimizer"].predicted_s == prediction.time.optimizer_s
    assert "gradients and parameters" not in found


def test_seconds_from_rates(job: Job) -> None:
    tokens = 64 * 8192  # of a step, on 8 devices
    assert seconds_of("tokens_per_s", 1e6, job, 8) == pytest.approx(tokens / 1e6)
    assert seconds_of("tokens_per_s_per_device", 1e5, job, 8) == pytest.approx(tokens / 8e5)
    assert seconds_of("samples_per_s", 16.0, job, 8) == 4.0
    found = predict(job, parse_layout("zero_stage=3,recompute=full", job))
    assert seconds_of("mfu", found.mfu, job, 8) == pytest.approx(found.step_time_s)
    rate = found.model_tflops_per_device
    assert seconds_of("model_tflops_per_device", rate, job, 8) == pytest.approx(found.step_time_s)
