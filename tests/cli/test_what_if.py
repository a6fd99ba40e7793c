"""``plan what-if`` on an example: JSON, tables, picture, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run

SMALL = ("--set", "search.limit={micro_batch: 1, cp: 1, vpp: 2}")


@pytest.fixture
def job(examples: Path) -> str:
    return str(examples / "llama3-8b-h100.yaml")


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run(["what-if", *arguments, *SMALL, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    found = json.loads(captured.out)
    assert isinstance(found, dict)
    return found


def test_overview_names_every_figure_once(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, job)
    assert found["now"] == found["best_now"]
    names = [name for effect in found["sensitivity"] for name in effect["changes"]]
    assert len(names) == len(set(names)) == 10
    assert {
        "peak_flops",
        "memory_bandwidth",
        "nvlink.bandwidth",
        "nvlink.start",
        "host.link",
        "launch",
    } <= set(names)
    (peak,) = (effect for effect in found["sensitivity"] if "peak_flops" in effect["changes"])
    assert peak["changes"]["peak_flops"]["factor"] == pytest.approx(1.1)
    assert -0.1 < peak["best"]["change"] <= peak["kept"]["change"] < 0
    assert -1 < peak["elasticity"] < 0
    assert set(found) == {"now", "best_now", "sensitivity"}


def test_questions_are_answered_together(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "vary.png"
    found = answer(
        capsys,
        job,
        *("--change", "memory_bandwidth=-20%,peak_flops=2x"),
        *("--speedup", "3%", "--price", "peak_flops=10"),
        *("--vary", "nvlink.bandwidth=0.5x..1x", "--plot", str(picture)),
    )
    assert set(found) == {"now", "best_now", "changes", "target", "vary"}
    assert set(found["changes"][0]["changes"]) == {"memory_bandwidth", "peak_flops"}
    assert found["target"]["step_time_s"] == pytest.approx(found["now"]["step_time_s"] / 1.03)
    assert [need["figure"] for need in found["target"]["needs"]] == ["peak_flops"]
    assert found["vary"]["spans"][-1]["now"] is True
    assert picture.stat().st_size > 10_000


def test_for_people(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--layout", "tp=8,sp=true,recompute=full", "--target", "10 s", "--price", "host.link=5")
    assert run(["what-if", job, *SMALL, *options, "--change", "memory=8 GB"]) == 1  # no answer: unreachable
    text = capsys.readouterr().out
    for words in ("now: tp8+sp", "the best layout now:", "nothing fits", "unreachable", "To reach 10.00 s"):
        assert words in text


def test_a_target_that_is_met_needs_no_change(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["what-if", job, *SMALL, "--target", "1000 s"]) == 0
    assert "is reached already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--change", "memroy=2x"), "--change: unknown hardware figure 'memroy'; did you mean 'memory'?"),
        (("--vary", "memory"), "FIGURE=FROM..TO"),
        (("--target", "soon"), "--target"),
        (("--target", "1 s", "--speedup", "10%"), "exclude each other"),
        (("--price", "memory=1"), "--price belongs to --target or --speedup"),
        (("--plot", "out.png"), "give --vary too"),
        (("--vary", "memory=1x..2x", "--plot", "out.gif"), "accepted: .png"),
        (("--step", "200%"), "below 100 %"),
        (("--layout", "tp=3"), "tp"),
    ],
)
def test_bad_options_are_refused(
    job: str, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["what-if", job, *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
