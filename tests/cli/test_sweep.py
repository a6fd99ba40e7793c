"""``plan sweep``: table, resumption, pictures, and what it refuses before it begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from planner.cli.main import run
from planner.documents import write_yaml
from tests.studies.sweep.samples import JOB

PNG = b"\x89PNG"


@pytest.fixture
def job(tmp_path: Path) -> str:
    write_yaml(tmp_path / "job.yaml", JOB)
    return str(tmp_path / "job.yaml")


def sweep(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert run(["sweep", *words, "--json", "--workers", "1"]) == 0
    captured = capsys.readouterr()
    payload: dict[str, Any] = json.loads(captured.out)
    return payload


def test_rows_without_a_file_are_printed(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    payload = sweep(
        capsys,
        job,
        "--over",
        "seq_len=256,512",
        "--over",
        "micro_batch=1,5",
        "--layout",
        "tp=1",
        "--devices",
        "1",
    )
    assert payload["points"] == payload["computed"] == 4
    assert payload["status"] == {"ok": 2, "bad_input": 2}
    first, second = payload["rows"][:2]
    assert (first["training.seq_len"], first["layout.micro_batch"], first["status"]) == (256, 1, "ok")
    assert "5 does not divide the 24 sequences" in second["message"]


def test_a_search_at_each_point_then_the_table_shown_with_pictures(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, single = str(tmp_path / "t.parquet"), tmp_path / "all.png"
    words = ["--over", "devices=1..4", "--over", "seq_len=512,1K", "--set", "cluster.price_per_device_hour=2"]
    payload = sweep(capsys, job, *words, "-o", table, "--plot", str(single))
    assert (payload["computed"], payload["kept"], payload["table"]) == (6, 0, table)
    assert "rows" not in payload
    assert single.read_bytes().startswith(PNG)
    assert pyarrow.parquet.read_table(table).column("proved").to_pylist() == [True] * 6
    assert sweep(capsys, job, *words, "-o", table)["kept"] == 6
    folder = tmp_path / "pictures"
    assert run(["sweep", "--show", table, "--plot", str(folder), "--heat", "devices,seq_len"]) == 0
    text = capsys.readouterr().out
    assert "6 points" in text
    assert "cheapest:" in text
    names = ["cost.png", "heat.png", "scaling.png", "tradeoff.png", "utilisation.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert all((folder / name).read_bytes().startswith(PNG) for name in names)


def test_a_sample_from_a_sweep_file_as_csv(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "job": "job.yaml",
        "over": {"memory_bandwidth": "log:x0.5..x2", "seq_len": "uniform:128..1024:128"},
        "samples": 5,
        "seed": 3,
        "layout": "tp=1",
    }
    write_yaml(tmp_path / "sweep.yaml", content)
    table = tmp_path / "t.csv"
    first = sweep(capsys, str(tmp_path / "sweep.yaml"), "-o", str(table))
    assert first["points"] == 5
    heading = table.read_text().splitlines()[0]
    assert heading.startswith('"hardware.memory_bandwidth.factor","training.seq_len","status"')
    more = sweep(capsys, str(tmp_path / "sweep.yaml"), "-o", str(table), "--samples", "8")
    assert (more["kept"], more["computed"]) == (5, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["job.yaml"], "nothing is varied"),
        (["job.yaml", "--over", "seq_len"], "accepted: FIELD=VALUES"),
        (["job.yaml", "--over", "seq_lne=1K"], "did you mean 'seq_len'?"),
        (["job.yaml", "--over", "seq_len=4Q"], "--over training.seq_len: found '4Q'"),
        (["job.yaml", "--over", "devices=1", "--over", "devices=2"], "is given twice"),
        (["job.yaml", "--over", "seq_len=log:1K..4K"], "--samples"),
        (["job.yaml", "--over", "seq_len=1K", "--ray-address", "auto"], "belongs to --engine ray"),
        (["job.yaml", "--over", "seq_len=1K", "-o", "t.xlsx"], "accepted: .parquet, .csv"),
        (["job.yaml", "--over", "seq_len=1K", "-o", "none/t.csv"], "does not exist"),
        (["job.yaml", "--over", "seq_len=1K", "--plot", "p.bmp"], "accepted: .png"),
        (["--show", "none.parquet", "--heat", "a,b"], "give --plot too"),
        (["job.yaml", "--over", "seq_len=1K", "--layout", "tp:1"], "knob=value"),
        (["job.yaml", "--over", "seq_len=1K", "--set", "training.seqlen=1K"], "did you mean 'seq_len'?"),
        (["--show", "none.parquet"], "none.parquet: does not exist"),
        ([], "--show TABLE"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    job: str,
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["job.yaml"]


def test_pictures_of_points_that_do_not_fit_are_no_answer(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", job, "--over", "micro_batch=5,7", "--layout", "tp=1", "--workers", "1"]
    assert run([*words, "--plot", str(tmp_path / "p.png")]) == 1
    assert "nothing to draw" in capsys.readouterr().err
    assert not (tmp_path / "p.png").exists()
