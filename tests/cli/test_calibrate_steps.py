"""``plan calibrate steps``: from a log or a table to a calibration that predictions use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.cli.main import run

TITAN = (
    "[rank0]:[titan] 2025-06-16 22:{minute}:50,322 - root - INFO - step: {step}  loss:  6.1384  memory: 49.66GiB(52.28%)"
    "  tps: {tps}  tflops: 339.16  mfu: 34.29%\n"
)
SETTINGS = ("--devices", "8", "--set", "training.global_batch=8")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Rates of torchtitan pull request 1287 (Llama 3 8B on H100), a first step before them."""
    rates = {1: "856", 200: "5,856", 210: "5,593", 220: "5,868", 230: "5,869", 240: "5,864", 250: "5,862"}
    file = tmp_path / "run.log"
    file.write_text(
        "".join(TITAN.format(minute=step // 10 + 10, step=step, tps=tps) for step, tps in rates.items())
    )
    return file


def test_a_log_becomes_a_calibration_that_a_cluster_uses(
    log: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, job = tmp_path / "mine.yaml", str(examples / "llama3-8b-h100.yaml")
    layout = ("--layout", "zero_stage=3,recompute=selective")
    arguments = [
        "calibrate",
        "steps",
        str(log),
        "--job",
        job,
        *SETTINGS,
        *layout,
        "-o",
        str(target),
        "--json",
    ]
    assert run(arguments) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["measured_s"] == pytest.approx(8192 / 5863, rel=0.001)
    assert (found["warm_up"], found["steps"]) == ([1], 6)
    assert found["memory"][0]["measured_bytes"] == pytest.approx(49.66 * 2**30)
    assert abs(found["error_fitted"]) < abs(found["error"])
    (tmp_path / "cluster.yaml").write_text(
        "accelerator: h100-sxm-80gb\nnodes: 1\ndevices_per_node: 8\ncalibration: mine.yaml\n"
        "network: [{name: nvlink, kind: nvlink4-sharp, size: 8}]\n"
    )
    cluster = ("--set", f"cluster={tmp_path / 'cluster.yaml'}")
    assert run(["estimate", job, *SETTINGS, *cluster, *layout, "--json"]) == 0
    predicted = json.loads(capsys.readouterr().out)["step_time_s"]
    assert predicted == pytest.approx(found["fitted_s"], rel=0.02)


def test_a_table_of_runs(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(
        "name,zero_stage,tp,recompute,global_batch,step_time_s,mfu,allocated_gib\n"
        "a,3,1,full,8,1.5,,30\n"
        "b,3,2,full,16,,0.3,\n"
    )
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["calibrate", "steps", str(file), "--job", job, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert (first["measured_s"], first["memory"][0]["kind"]) == (1.5, "allocated")
    assert (second["name"], second["layout"]["tp"], second["layout"]["grad_accum"]) == ("b", 2, 4)
    assert run(["calibrate", "steps", str(file), "--job", job]) == 0
    shown = capsys.readouterr().out
    assert "which component alone" in shown
    assert "Peak memory" in shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("tp,step_time\n8,1\n", "did you mean 'step_time_s'"),
        ("tp,dp\n8,1\n", "one of these columns"),
        ("tp,step_time_s\n8,fast\n", "runs.csv:2: step_time_s: found 'fast'"),
        ("tp,step_time_s,mfu\n8,1,0.3\n", "found 2 measured times"),
        ("tp,step_time_s\n3,1\n", "runs.csv:2"),
        ("tp,step_time_s\n8,1,2\n", "found 3 cells"),
        ("seq_len,step_time_s\nlong,1\n", "runs.csv:2"),
    ],
)
def test_faulty_tables(
    text: str, said: str, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.csv"
    file.write_text(text)
    assert run(["calibrate", "steps", str(file), "--job", str(examples / "llama3-8b-h100.yaml")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_usage(log: Path, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["calibrate", "steps", str(log)]) == 2
    assert "--job" in capsys.readouterr().err
    assert run(["calibrate", "steps", str(log), "--job", job, "--layout", "tp=8", "--layout", "tp=4"]) == 2
    assert "once per log" in capsys.readouterr().err
    megatron = log.with_name("megatron.log")
    megatron.write_text(
        "iteration 2/ 9 | elapsed time per iteration (ms): 5630.1 | global batch size: 64 |\n"
    )
    assert run(["calibrate", "steps", str(megatron), "--job", job, "--layout", "tp=8"]) == 2
    assert "64 sequences per step" in capsys.readouterr().err
