"""Rows against the same questions asked one by one, without a sweep."""

from __future__ import annotations

import pytest

from planner.costs.predict import predict
from planner.jobs.loader import load_job, open_job
from planner.jobs.shelf import Shelf
from planner.layouts.knobs import parse_layout
from planner.solvers.search import search
from planner.studies.sweep.rows import column_kinds, make_row
from planner.studies.sweep.task import Task
from tests.studies.sweep.samples import JOB

PRICED = {"cluster.price_per_device_hour": 3.6}


def test_a_row_of_a_fixed_layout_is_its_estimate() -> None:
    settings = {"training.seq_len": 512, "layout.micro_batch": 3, "devices": 8, **PRICED}
    row = make_row(Task(open_job(JOB), {"zero_stage": 1}), settings, Shelf())
    job = load_job(JOB, overrides={"training.seq_len": 512, "devices": 8, **PRICED})
    plan = predict(job, parse_layout("zero_stage=1,micro_batch=3", job))
    assert row["status"] == "ok"
    assert row["step_time_s"] == plan.step_time_s
    assert (row["interval_low_s"], row["interval_high_s"]) == plan.interval_s
    assert row["device_used_bytes"] == plan.memory.device_used_bytes
    assert (row["dp"], row["micro_batch"], row["zero_stage"]) == (8, 3, 1)
    # 8 devices at 3.6 per hour are 8/1000 per second; a step has 24 x 512 tokens.
    assert row["cost_per_million_tokens"] == pytest.approx(8e-3 * plan.step_time_s / (24 * 512) * 1e6)


def test_a_row_without_a_layout_is_its_search() -> None:
    settings = {"devices": 4, "search.fix.tp": 2}
    row = make_row(Task(open_job(JOB)), settings, Shelf())
    found = search(load_job(JOB, overrides=settings), top=1)
    assert row["step_time_s"] == found.plans[0].step_time_s
    assert (row["tp"], row["candidates"]) == (2, found.space["candidates"])
    assert (row["proved"], row["gap"]) == (True, 0.0)


def test_hardware_figures_scale_what_they_name() -> None:
    task, shelf = Task(open_job(JOB), {}), Shelf()
    slow, plain, fast = (
        make_row(task, {"hardware.memory_bandwidth.factor": factor}, shelf) for factor in (0.5, 1.0, 2.0)
    )
    stated = make_row(
        task, {"hardware.memory_bandwidth": 3.35e12 * 2}, shelf
    )  # H100 SXM: 3.35 TB/s, data sheet
    assert slow["step_time_s"] > plain["step_time_s"] > fast["step_time_s"]
    assert stated["step_time_s"] == pytest.approx(fast["step_time_s"])


def test_a_level_that_a_small_job_does_not_use_has_no_effect() -> None:
    task, shelf = Task(open_job(JOB), {}), Shelf()
    plain = make_row(task, {"devices": 8}, shelf)
    scaled = make_row(task, {"devices": 8, "hardware.infiniband.bandwidth.factor": 2.0}, shelf)
    assert scaled["step_time_s"] == plain["step_time_s"]


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"layout.micro_batch": 5}, "bad_input", "does not divide"),
        ({"devices": 12}, "bad_input", "the nearest accepted: 8 or 16"),
        ({"hardware.nvlnk.bandwidth.factor": 2.0}, "bad_input", "nvlnk"),
        ({"model.heads": 7}, "bad_input", "heads"),
    ],
)
def test_what_cannot_be_is_a_row_with_its_reason(settings: dict[str, int], status: str, words: str) -> None:
    row = make_row(Task(open_job(JOB), {}), settings, Shelf())
    assert row["status"] == status
    assert words in row["message"]
    assert settings.items() <= row.items()


def test_a_search_without_an_answer_is_a_row_with_its_reason() -> None:
    row = make_row(Task(open_job(JOB)), {"model": "gpt3-175b", "devices": 1}, Shelf())
    assert row["status"] == "no_answer"
    assert "fit" in row["message"]


def test_an_error_that_nobody_foresaw_is_a_row_with_its_place() -> None:
    broken = make_row(Task(open_job(JOB), 5), {"devices": 1}, Shelf())  # type: ignore[arg-type]
    assert broken["status"] == "error"
    assert broken["message"].startswith("TypeError: ")
    assert "task.py:" in broken["message"]


def test_columns_of_swept_fields_come_first_and_once() -> None:
    kinds = column_kinds({"devices": [1, 2], "layout.sp": [True], "x": [1, 0.5], "y": ["a", 1], "z": [[1]]})
    assert list(kinds)[:6] == ["devices", "layout.sp", "x", "y", "z", "status"]
    assert [kinds[name] for name in ("devices", "layout.sp", "x", "y", "z")] == [
        "integer",
        "truth",
        "number",
        "text",
        "text",
    ]
    assert list(kinds).count("devices") == 1
