"""``plan validate torch``: what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from planner.cli.main import run


def test_cuda_without_a_gpu_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run(["validate", "torch", "--device", "cuda"]) == 2
    assert "--device: found no CUDA device" in capsys.readouterr().err


def test_options_that_contradict_each_other_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    for words in (
        ["--only-time", "--no-time"],
        ["--calibration", str(file), "--calibrations", str(tmp_path)],
        ["--calibration", str(file)],
        ["--case", "no such case"],
        ["--plot", str(tmp_path / "times.txt")],
    ):
        assert run(["validate", "torch", *words]) == 2, words
        assert len(capsys.readouterr().err.splitlines()) == 1, words
