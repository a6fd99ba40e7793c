"""``plan search`` on clusters with groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from planner.cli.main import run
from tests.solvers.mixed.small import group, mapping

MIXED = sorted((Path(__file__).resolve().parents[2] / "examples" / "mixed").glob("*.yaml"))


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    with path.open("w") as file:
        YAML().dump(mapping([group("fast", 2), group("slow", 2, speed=0.4)], batch=8), file)
    return path


def answer(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    result = json.loads(captured.out)
    assert isinstance(result, dict)
    return result


def test_a100_and_v100_beat_a100_alone_and_all_as_v100(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """32 A100 and 32 V100: more than the A100s alone, by less than the V100s' share of the peak (40 %) allows."""
    path = examples / "mixed" / "llama2-13b-a100-v100.yaml"
    found = answer("search", str(path), capsys=capsys)
    best = found["plans"][0]
    others = {item["what"]: item["step_time_s"] for item in found["comparisons"]}
    assert best["groups"] == ["a100", "v100"]
    assert found["idle_groups"] == []
    assert others["a100 alone"] / 1.4 < best["step_time_s"] < others["a100 alone"]
    assert best["step_time_s"] < others["all 64 devices as v100-sxm-32gb"]
    assert found["gain"] == pytest.approx(1 - best["step_time_s"] / others["a100 alone"])
    assert found["certificate"]["proved"] is True
    sequences = sum(segment["sequences"] for segment in best["segments"])
    assert sequences == 256 if best["kind"] == "replicas" else 512


def test_the_plan_and_the_picture_are_written(
    job: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, picture = tmp_path / "plan.yaml", tmp_path / "picture.png"
    found = answer("search", str(job), "-o", str(plan), "--plot", str(picture), capsys=capsys)
    assert picture.read_bytes().startswith(b"\x89PNG")
    content = YAML(typ="safe").load(plan.read_text())
    assert set(content) == {"job", "segments", "prediction", "provenance"}
    assert content["prediction"]["step_time_s"] == found["plans"][0]["step_time_s"]
    assert [part["group"] for part in content["segments"]] == found["plans"][0]["groups"]
    assert set(content["provenance"]) == {"fast", "slow"}
    again = answer("search", str(plan), capsys=capsys)
    assert again["plans"] == found["plans"]
    assert run(["estimate", str(plan)]) == 2
    assert "several groups" in capsys.readouterr().err


def test_the_tables(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", str(job)]) == 0
    text = capsys.readouterr().out
    for words in ("2 × device-fast", "fast - slow: 25 GB/s", "Ways to use the groups", "Proved", "only slow"):
        assert words in text
    assert run(["search", str(job), "-q"]) == 0
    brief = capsys.readouterr().out
    assert "Ways to use the groups" in brief
    assert "bubble" not in brief


@pytest.mark.parametrize(
    "option", [["--explain"], ["--refine", "2"], ["--stages", "2"], ["--rank", "pessimistic"]]
)
def test_options_of_equal_devices_are_refused(
    job: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", str(job), *option]) == 2
    assert "has groups" in capsys.readouterr().err


def test_other_commands_name_the_one_that_plans_groups(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", str(job), "--layout", "tp=2"]) == 2
    assert "plan search" in capsys.readouterr().err


def test_devices_belong_to_each_group(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", str(job), "--devices", "3"]) == 2
    assert "the groups have 4 devices" in capsys.readouterr().err


@pytest.mark.parametrize("path", MIXED, ids=lambda path: path.stem)
def test_the_examples_are_jobs_on_groups(path: Path) -> None:
    from planner.jobs.loader import open_job
    from planner.solvers.mixed.job import load_mixed

    job = load_mixed(open_job(path))
    assert job is not None
    assert len(job.jobs) >= 2
