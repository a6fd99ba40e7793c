"""Commands about one layout: estimate, check, compare, max."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run

LAYOUT = "tp=4,pp=4,vpp=5,zero_stage=1,recompute=full"


@pytest.fixture
def job(examples: Path) -> str:
    return str(examples / "llama3-70b-h100.yaml")


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    payload = json.loads(capsys.readouterr().out)
    assert isinstance(payload, dict)
    return payload


def test_estimate_adds_up(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", job, "--layout", LAYOUT, "--json"]) == 0
    plan = read(capsys)
    time, memory = plan["time"], plan["memory"]
    parts = (
        time["compute_s"]
        + time["optimizer_s"]
        + sum(time["exposed"].values())
        + time["host_s"]
        + time["bubble_s"]
    )
    assert parts == pytest.approx(plan["step_time_s"], rel=1e-9)
    assert sum(memory["by_class"].values()) == pytest.approx(memory["peak_bytes"], rel=1e-9)
    assert plan["layout"]["tp"] == 4
    assert len(plan["ranks"]) == 4
    # 128 sequences of 8,192 tokens per step on 64 devices.
    assert plan["tokens_per_s"] * plan["step_time_s"] == pytest.approx(128 * 8192)
    assert plan["tokens_per_s_per_device"] * 64 == pytest.approx(plan["tokens_per_s"])


def test_a_token_budget_gives_days_and_energy(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", job, "--layout", LAYOUT, "--tokens", "100B", "--json"]) == 0
    plan = read(capsys)
    days = 100e9 / plan["tokens_per_s"] / 86400
    assert plan["budget"]["days"] == pytest.approx(days)
    assert plan["budget"]["device_hours"] == pytest.approx(64 * 24 * days)


def test_estimate_for_people_names_every_part(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", job, "--layout", LAYOUT]) == 0
    text = capsys.readouterr().out
    for words in (
        "tp4+sp pp4×5 dp4 zero1",
        "MFU",
        "Step time by class",
        "Memory at the peak",
        "Communication of one step",
    ):
        assert words in text


def test_a_plan_takes_the_place_of_a_job(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = str(tmp_path / "plan.yaml")
    assert run(["estimate", job, "--layout", LAYOUT, "-o", plan, "--json"]) == 0
    first = read(capsys)
    assert run(["estimate", plan, "--json"]) == 0
    assert read(capsys) == first
    assert run(["check", plan, "--json"]) == 0
    assert read(capsys)["legal"] is True


def test_nothing_is_half_written(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "nowhere" / "plan.yaml"
    assert run(["estimate", job, "--layout", LAYOUT, "-o", str(target)]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_check_lists_groups_of_a_legal_layout(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", job, "--layout", LAYOUT, "--json"]) == 0
    answer = read(capsys)
    assert answer["legal"] is True
    assert answer["fits"] is True
    # tp is innermost: ranks 0-3 form the first group.
    assert answer["rank_groups"]["tp"][0] == [0, 1, 2, 3]
    assert answer["rank_groups"]["pp"][0] == [0, 16, 32, 48]


def test_check_explains_an_illegal_layout(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", job, "--layout", "tp=4,pp=4,vpp=3", "--json"]) == 1
    answer = read(capsys)
    assert answer["legal"] is False
    assert answer["memory"] is None
    assert all(violation["accepted"] for violation in answer["violations"])
    assert run(["check", job, "--layout", "tp=4,pp=4,vpp=3"]) == 1
    assert "ILLEGAL" in capsys.readouterr().out


def test_check_of_a_layout_that_does_not_fit(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", job, "--layout", "tp=1"]) == 1
    text = capsys.readouterr().out
    assert "does NOT fit" in text
    assert "MISSING" in text


def test_compare_adds_up(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    for path, layout in zip(paths, (LAYOUT, "tp=8,pp=2,zero_stage=1,recompute=full"), strict=True):
        assert run(["estimate", job, "--layout", layout, "-o", path, "-q"]) == 0
    capsys.readouterr()
    assert run(["compare", *paths, "--json"]) == 0
    answer = read(capsys)
    difference = answer["differences"][0]
    assert sum(difference["time_s"].values()) == pytest.approx(difference["step_time_s"], rel=1e-6)
    assert difference["knobs"]["tp"] == [4, 8]
    assert difference["job"] == {}
    assert run(["compare", *paths]) == 0
    assert "b is" in capsys.readouterr().out


def test_compare_refuses_a_job(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", job, job]) == 2
    assert "is a job, not a plan" in capsys.readouterr().err


def test_max_grows_until_memory_ends(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--of", "layers", "--layout", "tp=8,pp=4,zero_stage=1,recompute=full"]
    assert run(["max", job, *arguments, "--json"]) == 0
    answer = read(capsys)
    assert answer["largest"] % 4 == 0
    assert answer["prediction"]["memory"]["fits"] is True
    assert answer["largest"] >= 80
    assert run(["max", job, *arguments, "-q"]) == 0
    assert f"{answer['largest']:,}" in capsys.readouterr().out
