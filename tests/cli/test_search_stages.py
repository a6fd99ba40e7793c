"""``plan search --stages``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run

Capture = pytest.CaptureFixture[str]

JOB = """\
model: llama3-8b
cluster: h100-superpod
devices: 8
training: {global_batch: 64, seq_len: 8192, precision: bf16, optimizer: adamw, framework: megatron-core}
search:
  fix: {tp: 2, cp: 1, pp: 4, vpp: %s}
"""


def job(folder: Path, vpp: int = 1) -> str:
    file = folder / "job.yaml"
    file.write_text(JOB % vpp)
    return str(file)


def staged(path: str, *options: str, capsys: Capture) -> dict[str, Any]:
    assert run(["search", path, "--stages", "2", *options, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return answer


def test_one_stage_per_rank(tmp_path: Path, capsys: Capture) -> None:
    plan = tmp_path / "plan.yaml"
    answer = staged(job(tmp_path), "-o", str(plan), capsys=capsys)
    best, told = answer["stages"][0], answer["plans"][0]
    assert best["method"] == "dynamic programme"
    assert best["programme"] is None
    assert best["gain"] == pytest.approx(1 - best["step_time_s"] / best["step_time_before_s"])
    assert best["gain"] > 0.02
    assert best["simulated_gain"] > 0.0
    assert told["step_time_s"] == best["step_time_s"]
    assert sum(told["layout"]["layers_per_stage"]) == 32
    assert answer["certificate"]["proved"] is True
    assert run(["estimate", str(plan), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["step_time_s"] == told["step_time_s"]
    assert again["layout"] == told["layout"]


@pytest.mark.parametrize("back_end", ["highs", "cbc"])
def test_two_stages_per_rank(tmp_path: Path, capsys: Capture, back_end: str) -> None:
    programme = tmp_path / "stages.lp"
    options = ("--back-end", back_end, "--write-lp", str(programme), "--time-limit", "8 s")
    answer = staged(job(tmp_path, 2), *options, capsys=capsys)
    best = answer["stages"][0]
    assert best["method"] == "integer programme"
    assert best["programme"]["back_end"] == back_end
    assert best["programme"]["status"] in ("optimal", "feasible")
    assert best["step_time_s"] <= best["step_time_before_s"]
    text = programme.read_text()
    assert "Minimize" in text
    assert "memory_3:" in text


def test_for_people(tmp_path: Path, capsys: Capture) -> None:
    assert run(["search", job(tmp_path), "--stages", "1"]) == 0
    text = capsys.readouterr().out
    for words in (
        "The best pipeline by rank",
        "Pipelines with uneven stages",
        "dynamic programme",
        "faster than",
    ):
        assert words in text
    assert run(["search", job(tmp_path), "--stages", "1", "-q"]) == 0
    assert "by rank" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--stages", "1", "--refine", "2"), "--stages excludes"),
        (("--write-lp", "a.lp"), "give --stages N too"),
        (("--back-end", "highs"), "give --stages N too"),
        (("--stages", "1", "--write-lp", "no-such-folder/a.lp"), "does not exist"),
        (("--stages", "0"), "--stages"),
    ],
)
def test_refused(tmp_path: Path, capsys: Capture, options: tuple[str, ...], words: str) -> None:
    assert run(["search", job(tmp_path), *options]) == 2
    assert words in capsys.readouterr().err


def test_no_pipeline_to_cut(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "job.yaml"
    file.write_text((JOB % 1).replace("pp: 4", "pp: 1"))
    assert run(["search", str(file), "--stages", "1"]) == 1
    assert "fixes pp to 1" in capsys.readouterr().err
