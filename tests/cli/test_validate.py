"""``plan validate`` and ``plan validate runs``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.main import run
from planner.cli.validate import KINDS, command
from planner.errors import NoAnswerError

SAMPLE = str(Path(__file__).parents[1] / "data" / "runs" / "published.yaml")
SMALL = ["runs", SAMPLE, "--family", "korthikanti22"]


def test_help_lists_the_kinds_without_importing_them() -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert all(kind in text for kind in KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_a_command(kind: str) -> None:
    assert CliRunner().invoke(command, [kind, "--help"]).exit_code == 0


def test_tables_for_people() -> None:
    result = CliRunner().invoke(command, ["runs", SAMPLE], env={"COLUMNS": "150"})
    assert result.exit_code == 0
    for words in (
        "Step time of complete rows",
        "complete rows predicted, 0 refused",
        "Scored apart",
        "Memory, each figure against its own counter",
        "Does it fit?",
        "largest errors",
        "Refused or not scored",
        "without a stated convention",
    ):
        assert words in result.stdout


def test_quiet_is_the_first_table() -> None:
    result = CliRunner().invoke(command, [*SMALL, "-q"])
    assert "korthikanti22" in result.stdout
    assert "largest errors" not in result.stdout
    assert result.stderr == ""


def test_json_of_a_family() -> None:
    result = CliRunner().invoke(command, [*SMALL, "--json"])
    answer = json.loads(result.stdout)
    assert [group["family"] for group in answer["groups"]] == ["korthikanti22"]
    assert len(answer["rows"]) == 8


def test_limit_takes_the_first_rows() -> None:
    answer = json.loads(CliRunner().invoke(command, ["runs", SAMPLE, "--limit", "3", "--json"]).stdout)
    assert len(answer["rows"]) == 3


def test_a_missed_bar_is_exit_code_1() -> None:
    assert CliRunner().invoke(command, [*SMALL, "--bar", "50%"]).exit_code == 0
    result = CliRunner().invoke(command, [*SMALL, "--bar", "0.0001%"])
    assert isinstance(result.exception, NoAnswerError)
    assert "the bar is missed" in str(result.exception)


CALIBRATION = """\
name: test
date: 2026-11-21
data_sha256: none
rows: 1
accelerators:
  a100:
    members: [a100-sxm-80gb]
    families: [test]
    constants:
      matmul_efficiency.16bit: {value: 0.4, prior: 0.8, spread: 0.1, lower: 0.1, upper: 1.0, rows: 1, groups: 1}
"""


def test_constants_of_a_calibration_file(tmp_path: Path) -> None:
    """Matmuls at half of the peak's share take twice as long; the priors do not know of it."""
    file = tmp_path / "fitted.yaml"
    file.write_text(CALIBRATION)
    slow, priors = (
        json.loads(CliRunner().invoke(command, [*SMALL, "--json", *option]).stdout)["rows"]
        for option in (["--calibration", str(file)], ["--priors"])
    )
    for fitted, prior in zip(slow, priors, strict=True):
        assert 1.3 < fitted["predicted_s"] / prior["predicted_s"] < 2.1


def test_picture(tmp_path: Path) -> None:
    target = tmp_path / "runs.png"
    result = CliRunner().invoke(command, [*SMALL, "--plot", str(target)])
    assert result.exit_code == 0
    assert target.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs"], "Missing argument 'PATH...'"),
        (["run", SAMPLE], "did you mean 'runs'"),
        (["runs", "nowhere.yaml"], "nowhere.yaml: does not exist"),
        (["runs", SAMPLE, "--family", "korthikanti"], "did you mean 'korthikanti22'"),
        (["runs", SAMPLE, "--limit", "0"], "--limit: found '0'; at least 1"),
        (["runs", SAMPLE, "--limit", "few"], "--limit"),
        (["runs", SAMPLE, "--bar", "200%"], "--bar: found '200%'"),
        (["runs", SAMPLE, "--worst", "-1"], "--worst"),
        (["runs", SAMPLE, "--plot", "picture.gif"], "picture.gif"),
        (["runs", SAMPLE, "--calibration", "none.yaml"], "none.yaml: does not exist"),
        (["runs", SAMPLE, "--calibration", "x.yaml", "--priors"], "exclude each other"),
        (["runs", SAMPLE, "--plot", "no/such/folder.png"], "does not exist"),
    ],
)
def test_bad_usage_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", *arguments]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""
    assert len(shown.err.strip().splitlines()) == 1
