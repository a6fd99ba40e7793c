"""``plan validate kernels`` and ``plan validate collectives``: answers, bars, pictures, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from planner.cli.validate_collectives import command as collectives
from planner.cli.validate_kernels import command as kernels
from planner.errors import NoAnswerError, PlannerError

DATA = Path(__file__).resolve().parent.parent / "data"
GEMM = str(DATA / "kernels_gemm_fp16.csv")
PUBLISHED = str(DATA / "collectives_published.yaml")


def kernel_run(*arguments: str) -> Result:
    return CliRunner().invoke(kernels, [GEMM, *arguments])


def test_tables_for_people() -> None:
    result = kernel_run()
    assert result.exit_code == 0
    for words in ("matmul", "m >= 512", "h100-sxm-80gb", "median", "Largest errors", "72 of 72 points"):
        assert words in result.stdout


def test_json_of_kernels() -> None:
    answer = json.loads(kernel_run("--json").stdout)
    assert {"groups", "overall", "rows"} <= set(answer)
    assert answer["overall"]["n"] == answer["overall"]["predicted"] == len(answer["rows"]) == 72
    for group in answer["groups"]:
        assert {"family", "accelerator", "operator", "band", "n", "predicted", "bias"} <= set(group)
        assert 0 <= group["median_ape"] <= group["p90_ape"] <= group["worst_ape"]
    row = answer["rows"][0]
    assert row["error"] == pytest.approx(row["predicted_s"] / row["measured_s"] - 1)


def test_json_of_collectives() -> None:
    result = CliRunner().invoke(collectives, [PUBLISHED, "--json"])
    answer = json.loads(result.stdout)
    assert {group["band"] for group in answer["groups"]} == {"< 1 MiB", "1-64 MiB", ">= 64 MiB", "plateau"}
    assert all({"ranks", "nodes", "network"} <= set(group) for group in answer["groups"])
    assert answer["overall"]["apart"] == sum(row["apart"] is not None for row in answer["rows"])


def test_worst_lists_as_many_as_asked() -> None:
    listed = kernel_run("--worst", "2").stdout.split("Largest errors")[1]
    assert listed.count("kernels_gemm_fp16.csv:") == 2


def test_a_bar_that_is_reached_and_one_that_is_missed() -> None:
    assert kernel_run("--bar", "50%").exit_code == 0
    missed = kernel_run("--bar", "0.01%", "--json")
    assert isinstance(missed.exception, NoAnswerError)
    assert missed.exception.exit_code == 1
    assert "0.0 % allowed" in str(missed.exception)
    assert json.loads(missed.stdout)["overall"]["predicted"] == 72


def test_a_picture(tmp_path: Path) -> None:
    result = kernel_run("--plot", str(tmp_path / "errors.png"))
    assert result.exit_code == 0
    assert (tmp_path / "errors.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bar", "lots"], "--bar"),
        (["--bar", "5"], "a share such as 10% or 0.1"),
        (["--bar", "0"], "--bar"),
        (["--worst", "-1"], "--worst"),
        (["--plot", "errors.gif"], "accepted: .png"),
        (["--plot", "/nowhere/errors.png"], "does not exist"),
        (["no-such-file.csv"], "does not exist"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str) -> None:
    result = kernel_run(*arguments)
    assert isinstance(result.exception, PlannerError)
    assert result.exception.exit_code == 2
    assert words in str(result.exception)
    assert result.stdout == ""


def test_a_path_is_needed() -> None:
    assert CliRunner().invoke(kernels, []).exit_code == 2
