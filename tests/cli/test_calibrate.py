"""``plan calibrate fit``: files, tables, JSON, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from planner.cli.main import run
from planner.hardware.calibration import load_calibration

RUNS = Path(__file__).parents[1] / "data" / "runs" / "published.yaml"


@pytest.fixture(scope="module")
def two_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Korthikanti's smallest model, with full and with selective recompute."""
    rows = yaml.safe_load(RUNS.read_text(encoding="utf-8"))["runs"]
    chosen = [row for row in rows if row["id"].startswith("korthikanti22-tab5-22b")]
    assert len(chosen) == 2
    path = tmp_path_factory.mktemp("runs") / "two.yaml"
    path.write_text(json.dumps({"runs": chosen}), encoding="utf-8")
    return path


def test_fit_writes_a_calibration_and_tells_errors(
    two_rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "fit.yaml"
    code = run(
        ["calibrate", "fit", str(two_rows), "-o", str(target), "--renewals", "1", "--workers", "1", "--json"]
    )
    answer = json.loads(capsys.readouterr().out)
    assert code == 0
    (group,) = answer["groups"]
    assert (group["family"], group["rows"], group["votes"]) == ("korthikanti22", 2, 2)
    assert group["in_sample"]["mean_ape"] <= group["priors"]["mean_ape"]
    assert group["family_out"]["mean_ape"] == pytest.approx(group["priors"]["mean_ape"])
    assert answer["at_bound"] == []
    calibration = load_calibration(target)
    assert calibration.model_dump(mode="json") == answer["calibration"]
    assert calibration.rows == 2
    assert set(calibration.frameworks) == {"megatron-lm"}


def test_tables_of_kernels_make_a_calibration_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = RUNS.parents[1] / "kernels_attention_fp16.csv"
    target = tmp_path / "kernels.yaml"
    assert run(["calibrate", "fit", str(table), "-o", str(target), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    calibration = load_calibration(target)
    assert calibration.model_dump(mode="json") == answer["calibration"]
    assert (calibration.name, calibration.data, calibration.rows) == ("published-kernels", "kernels", 114)
    assert set(calibration.attention) == {"flash1", "flash2", "flash3", "unfused"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([str(RUNS), str(RUNS.parents[1] / "kernels_gemm_fp16.csv")], "one kind at a time"),
        (["nowhere.yaml"], "nowhere.yaml"),
        ([str(RUNS), "--renewals", "0"], "--renewals"),
        ([str(RUNS), "--stiffness", "soft"], "--stiffness"),
        ([str(RUNS), "-o", "/nowhere/fit.yaml"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["calibrate", "fit", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_rows_without_times_cannot_be_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.yaml").write_text("runs: []\n")
    assert run(["calibrate", "fit", str(tmp_path / "none.yaml")]) == 2
    assert "nothing can be fitted" in capsys.readouterr().err


def test_unknown_ways_are_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "fitt"]) == 2
    assert "did you mean 'fit'" in capsys.readouterr().err
