"""``plan calibrate network``: refusals, and two real ranks whose measurements are fitted."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from planner.calibration.measure import grid
from planner.calibration.measure.machine import this_machine
from planner.calibration.measure.record import open_record, read_record
from planner.calibration.measure.repeats import Summary
from planner.cli.main import run

COMMAND = ["calibrate", "network", "-o"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--processes", "1"], "at least 2 is accepted"),
        (["--processes", "2", "--cluster", "cpu-loopback"], "leave one of both out"),
        (["--cluster", "h100-superpot"], "h100-superpod"),
        (["--backend", "nccl"], "found no CUDA device"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, told = run([*COMMAND, str(tmp_path / "my.yaml"), *arguments]), capsys.readouterr()
    assert (code, message in told.err) == (2, True), told.err


def test_a_port_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, told = run([*COMMAND, str(tmp_path / "my.yaml"), "--port", port]), capsys.readouterr()
    assert (code, f"port {port}" in told.err) == (2, True)


def test_a_wrong_world_size_under_torchrun_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    code, told = run([*COMMAND, str(tmp_path / "my.yaml"), "--processes", "2"]), capsys.readouterr()
    assert (code, "3 processes started" in told.err) == (2, True), told.err


def test_an_interrupted_measurement_is_finished_and_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All points but one per collective are there already; two ranks measure the rest."""
    from planner.calibration.measure.machine import surroundings
    from planner.hardware.loader import load_cluster

    described = this_machine(2)
    path = tmp_path / "my.network.yaml"
    machine = {"backend": "gloo"} | surroundings("cpu", 2)
    record = open_record(path, "points", machine, {"cluster": json.dumps(described)})
    points = list(grid.network_grid(load_cluster(described), 2, "small"))
    for point in points:
        if point["bytes"] != 4096:
            record.add(point, Summary(3e-4 + int(point["bytes"]) / 2e9, 0.01, 5, 0.0))
    code, told = run([*COMMAND, str(tmp_path / "my.yaml"), "--json"]), capsys.readouterr()
    assert code == 0, told.err
    assert len(read_record(path, "points")[1]) == len(points)
    answer = json.loads(told.out)
    assert set(answer["calibration"]["networks"]) == {"loopback"}
    assert len(answer["residuals"]["points"]) == len(points)
    assert (tmp_path / "my.yaml").exists()
