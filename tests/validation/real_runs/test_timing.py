"""Timed steps: the lists of cases, scores, tables and pictures; the timing itself belongs to `make validate`."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from planner.errors import NoAnswerError
from planner.layouts.legality import require_legal
from planner.report.step_times import draw_times, show_times
from planner.validation.real_runs.cases import built_in
from planner.validation.real_runs.times import time_score
from planner.validation.real_runs.timing import LISTS, TimedStep, time_cases
from planner.validation.trainer.settings import settings_of


def test_timed_cases_are_legal_runnable_and_many() -> None:
    cases = built_in(LISTS["cpu"])
    for case in cases:
        require_legal(case.job, case.layout)
        assert settings_of(case.job, case.layout).world_size == case.processes
    assert len(cases) >= 20
    assert {case.processes for case in cases} == {2, 4}
    assert len({case.name for case in cases}) == len(cases)


def test_gpu_cases_are_single_process_model_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.validation.real_runs.cases.accelerator_here", lambda device: "a100-sxm-80gb")
    cases = built_in(LISTS["cuda"], device="cuda")
    assert len({case.job.model.name for case in cases}) >= 10
    for case in cases:
        require_legal(case.job, case.layout)
        assert settings_of(case.job, case.layout, device="cuda").world_size == 1


def test_only_pairs_beyond_both_spreads_are_ordered() -> None:
    steps = [
        TimedStep("a", "m", 2, seconds=(1.0, 1.1), predicted_s=1.0),
        TimedStep("b", "m", 2, seconds=(1.05, 1.2), predicted_s=0.9),
        TimedStep("c", "m", 2, seconds=(2.0, 2.2), predicted_s=2.1),
        TimedStep("d", "m", 2, failed_because="rank 1 died"),
    ]
    score = time_score(steps)
    assert (score.cases, score.pairs, score.ordered) == (3, 2, 2)
    assert score.fastest == {"m on 2": True}
    assert score.median_error == pytest.approx(1.0 - 1.0 / 1.05)


def test_layouts_are_ordered_within_their_model_and_number_of_processes() -> None:
    steps = [
        TimedStep("a", "m", 2, seconds=(1.0,), predicted_s=3.0),
        TimedStep("b", "m", 4, seconds=(2.0,), predicted_s=2.0),
        TimedStep("c", "n", 2, seconds=(3.0,), predicted_s=1.0),
    ]
    score = time_score(steps)
    assert (score.pairs, score.fastest) == (0, {})


def test_steps_of_a_real_run_are_timed(tmp_path: Path) -> None:
    case = next(case for case in built_in() if case.name == "zero 1 dp 2")
    (step,) = time_cases([case], repeats=2, device="cpu", progress=lambda done, message: None)
    assert len(step.seconds) == 2
    assert min(step.seconds) > 0.0
    assert step.peak_bytes is None
    assert step.predicted_s > 0.0
    picture = tmp_path / "times.png"
    draw_times(picture, [step])
    assert picture.stat().st_size > 0
    console = Console(record=True, width=120)
    show_times(console, [step, TimedStep("other", "m", 2, failed_because="rank 1 died")])
    assert "other: rank 1 died" in console.export_text()


def test_nothing_timed_draws_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="nothing was timed"):
        draw_times(tmp_path / "times.png", [TimedStep("a", "m", 2, failed_because="dead")])


def test_peaks_of_a_gpu_are_compared() -> None:
    step = TimedStep("a", "m", 1, seconds=(1.0,), predicted_s=1.0, peak_bytes=100, predicted_peak_bytes=110.0)
    assert step.memory_error == pytest.approx(0.1)
    assert step.to_json()["memory_error"] == pytest.approx(0.1)
