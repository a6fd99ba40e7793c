from __future__ import annotations

import json
import math
import socket
from pathlib import Path

import pytest

from planner.cli.main import run
from planner.costs.predict import predict
from planner.jobs.loader import load_job
from planner.jobs.plan import write_plan
from planner.layouts.knobs import parse_layout
from planner.validation.processes import launch
from planner.validation.real_runs.cases import built_in


@pytest.fixture
def plan(tmp_path: Path) -> str:
    case = next(case for case in built_in() if case.name == "pp 2")
    file = tmp_path / "plan.yaml"
    write_plan(file, case.job, predict(case.job, case.layout))
    return str(file)


@pytest.fixture
def large(tmp_path: Path) -> str:
    """A plan of 128 devices."""
    training = {"global_batch": 512, "seq_len": 4096}
    job = load_job({"model": "llama3-8b", "cluster": "h100-superpod", "devices": 128, "training": training})
    file = tmp_path / "plan.yaml"
    write_plan(file, job, predict(job, parse_layout("tp=8,dp=16", job)))
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


@pytest.mark.parametrize("command", [["run", "--local"], ["validate", "torch"]])
def test_a_missing_torch_is_one_clear_line(
    command: list[str], plan: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    assert run([*command, plan]) == 2
    captured = capsys.readouterr()
    assert "PyTorch is not installed; pip install" in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


def test_a_port_in_use_is_refused(plan: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert run(["run", plan, "--local", "--port", str(port)]) == 2
    assert f"port {port} cannot be used: Address already in use" in capsys.readouterr().err


def test_a_plan_too_large_says_how_to_run_a_copy(large: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run", "--local"], ["validate", "torch"]):
        assert run([*command, large]) == 2
        assert "needs 128 processes, at most" in (told := capsys.readouterr().err)
        assert "--scale-down 8 runs a small copy" in told
    assert run(["run", large, "--local", "--scale-down", "none"]) == 2
    assert "--scale-down: " in capsys.readouterr().err


def test_a_copy_runs_and_says_what_was_cut(large: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["run", large, "--local", "--scale-down", "2", "--steps", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["processes"] == 2
    told = {cut["field"]: (cut["was"], cut["now"]) for cut in answer["scaled_down"]}
    assert (told["layout.tp"], told["layout.dp"]) == ((8, 2), (16, 1))
    # Small first weights: a guess among the copy's 128 tokens per rank of tp.
    assert answer["losses"][0] == pytest.approx(math.log(256), rel=0.02)


def test_an_unknown_case_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "torch", "--case", "pp 3"]) == 2
    assert "no built-in case is called 'pp 3'; did you mean" in capsys.readouterr().err
