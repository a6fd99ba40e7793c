from __future__ import annotations

from pathlib import Path

import pytest

from planner.cli.main import run
from planner.costs.predict import predict
from planner.jobs.plan import write_plan
from planner.validation.real_runs.cases import built_in


@pytest.fixture
def plan(tmp_path: Path) -> str:
    case = next(case for case in built_in() if case.name == "pp 2")
    file = tmp_path / "plan.yaml"
    write_plan(file, case.job, predict(case.job, case.layout))
    return str(file)


def test_a_plan_runs_only_locally(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", plan]) == 2
    assert "add --local" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes", "4"], "--processes: found 4; the plan needs 2"),
        (["--steps", "0"], "--steps: found '0'; at least 1"),
        (["-o", "no/such/folder.json"], "cannot be written"),
    ],
)
def test_faults_are_one_line(
    plan: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", plan, "--local", *options]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "torch", "--case", "pp 3"]) == 2
    assert "no built-in case is called 'pp 3'; did you mean" in capsys.readouterr().err
