"""``plan calibrate device``: refusals before anything is measured, and a kill that costs one point at most."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner.calibration.measure.record import open_record, read_record
from planner.cli.main import run

COMMAND = ["calibrate", "device", "-o"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "fp7"], "found 'fp7'; of cpu can be measured: fp32"),
        (["--precision", "bf16"], "found 'bf16'; of cpu can be measured: fp32"),
        (["--processes", "0"], "--processes"),
        (["--device", "cuda", "--processes", "2"], "1 is accepted on cuda"),
        (["--accelerator", "cqu"], "cpu"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run([*COMMAND, str(tmp_path / "my.yaml"), *arguments]), capsys.readouterr()
    assert (code, message in told.err) == (2, True), told.err
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_written_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = run([*COMMAND, str(tmp_path / "missing" / "my.yaml")]), capsys.readouterr()
    assert (code, "does not exist" in told.err) == (2, True)


def test_a_missing_torch_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, told = run([*COMMAND, str(tmp_path / "my.yaml")]), capsys.readouterr()
    assert (code, "pip install 'distributed-training-planner[torch]'" in told.err) == (2, True)


def test_a_machine_without_cuda_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, told = run([*COMMAND, str(tmp_path / "my.yaml"), "--device", "cuda"]), capsys.readouterr()
    assert (code, "found no CUDA device" in told.err) == (2, True)


def test_a_killed_run_keeps_its_points_and_leaves_no_process(tmp_path: Path) -> None:
    record = tmp_path / "my.device.yaml"
    command = [sys.executable, "-m", "planner.cli", *COMMAND, str(tmp_path / "my.yaml"), "-q"]
    running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while (not record.exists() or record.read_text().count("\n- ") < 2) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    kept = len(read_record(record, "kernels")[1])
    assert kept >= 2
    time.sleep(1.0)
    after = record.read_text().count("\n- ")
    time.sleep(1.5)
    assert record.read_text().count("\n- ") == after, "a process went on measuring"
    machine, points = read_record(record, "kernels")
    assert len(open_record(record, "kernels", {k: str(v) for k, v in machine.items()}, {}).done) == len(
        points
    )
