"""A whole sweep: goes on where it was, tells when the table is another one's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.documents import write_yaml
from planner.errors import PlannerError
from planner.jobs.loader import override
from planner.jobs.shelf import Shelf
from planner.studies.sweep.request import Request, Sweep, checked_sweep, open_request
from planner.studies.sweep.rows import column_kinds
from planner.studies.sweep.run import Engine, Outcome, run_sweep
from planner.studies.sweep.store import Store
from tests.studies.sweep.samples import JOB, small_sweep

OVER = {"seq_len": "256,512", "layout.micro_batch": "1,2,5"}


def run(sweep: Sweep, path: Path, **options: Any) -> Outcome:
    return run_sweep(sweep, path, Engine(workers=1), shelf=Shelf(), **options)


def test_the_second_run_computes_what_the_first_has_not(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    first = run(small_sweep(OVER), path)
    assert (first.computed, first.kept) == (6, 0)
    assert first.statuses == {"ok": 4, "bad_input": 2}
    assert first.table.column("training.seq_len").to_pylist() == [256, 256, 256, 512, 512, 512]
    seen: list[tuple[float, str]] = []
    wider = small_sweep({**OVER, "seq_len": "128,256,512"})
    second = run(wider, path, progress=lambda done, words: seen.append((done, words)))
    assert (second.computed, second.kept) == (3, 6)
    assert second.table.column("training.seq_len").to_pylist() == [128] * 3 + [256] * 3 + [512] * 3
    assert second.table.slice(3).equals(first.table)
    assert seen[-1][0] == 1.0
    assert seen[-1][1].startswith("9 of 9 points, ")
    third = run(wider, path)
    assert (third.computed, third.kept) == (0, 9)
    assert third.table.equals(second.table)


def test_rows_of_another_sweep_are_refused_with_what_changed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    sweep = small_sweep(OVER)
    run(sweep, path)
    content = path.read_bytes()
    other_job = replace(sweep.task, base=override(sweep.task.base, {"training.optimizer": "sgd"}))
    other_cluster = replace(sweep.task, base=override(sweep.task.base, {"cluster": "a100-superpod"}))
    cases = {
        "changed: job)": replace(sweep, task=other_job),
        "changed: cluster, job)": replace(sweep, task=other_cluster),
        "at other points": replace(sweep, points=sweep.points[1:]),
        "is a sweep over training.seq_len, layout.micro_batch": small_sweep({"seq_len": "256,512"}),
    }
    for words, changed in cases.items():
        with pytest.raises(PlannerError) as caught:
            run(changed, path)
        assert words in str(caught.value)
        assert "--fresh" in str(caught.value)
        assert path.read_bytes() == content
    assert run(replace(sweep, task=other_job), path, fresh=True).computed == 6


def test_errors_are_computed_again_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    sweep = small_sweep(OVER)
    plain = run(sweep, path)
    failed = plain.table.to_pylist()[1] | {"status": "error", "message": "the worker process was killed"}
    store = Store(path, column_kinds({axis.path: axis.values for axis in sweep.axes}))
    store.open()
    store.append([failed])
    store.close()
    assert run(sweep, path).statuses == {"ok": 3, "bad_input": 2, "error": 1}
    again = run(sweep, path, retry=True)
    assert (again.computed, again.statuses) == (1, {"ok": 4, "bad_input": 2})


def test_a_sweep_file_says_the_same_as_flags(tmp_path: Path) -> None:
    write_yaml(tmp_path / "job.yaml", JOB)
    content = {
        "job": "job.yaml",
        "over": {"seq_len": "1K..2K", "training.precision": ["bf16", "fp16"], "memory": "x1"},
        "set": {"training.global_batch": 48},
        "layout": {"micro_batch": 2},
        "time_limit": "2 s",
    }
    write_yaml(tmp_path / "sweep.yaml", content)
    sweep = checked_sweep(open_request(tmp_path / "sweep.yaml"), Shelf())
    assert len(sweep.points) == 4
    assert sweep.points[3] == {
        "training.seq_len": 2048,
        "training.precision": "fp16",
        "hardware.memory.factor": 1.0,
    }
    assert sweep.task.knobs == {"micro_batch": 2}
    assert sweep.task.time_limit_s == 2.0
    assert sweep.task.base.document.data["training"]["global_batch"] == 48
    write_yaml(tmp_path / "inline.yaml", {**content, "job": JOB})
    assert checked_sweep(open_request(tmp_path / "inline.yaml"), Shelf()).points == sweep.points


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"over": {}}, "nothing is varied"),
        ({"over": {"seq_lne": 1}}, "did you mean 'seq_len'"),
        ({"smaples": 3}, "sweep.yaml:"),
        ({"job": "none.yaml"}, "none.yaml: does not exist"),
        ({"job": {**JOB, "devics": 3}}, "did you mean 'devices'"),
        ({"job": {**JOB, "model": "gpt3-125"}}, "did you mean 'gpt3-125m'"),
        ({"layout": "tp:1"}, "not of the form"),
    ],
)
def test_faults_are_told_before_anything_runs(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    write_yaml(tmp_path / "sweep.yaml", {"job": JOB, "over": {"seq_len": "1K"}, **change})
    with pytest.raises(PlannerError) as caught:
        checked_sweep(open_request(tmp_path / "sweep.yaml"), Shelf())
    assert words in str(caught.value)


def test_levels_of_every_swept_cluster_may_be_scaled() -> None:
    request = Request(
        small_sweep(OVER).task.base, {"cluster": "h100-superpod,tpu-v5p-pod", "ici.bandwidth": "x2"}
    )
    assert len(checked_sweep(request, Shelf()).points) == 2


def test_a_changed_file_of_lengths_is_told(tmp_path: Path) -> None:
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("256\n256\n")
    training = {"global_batch": 24, "lengths": "lengths.csv", "framework": "megatron-core"}
    write_yaml(tmp_path / "job.yaml", {**JOB, "training": training})
    path = tmp_path / "t.parquet"

    def sweep() -> Sweep:
        request = replace(open_request(tmp_path / "job.yaml"), over={"micro_batch": "1"}, layout="tp=1")
        return checked_sweep(request, Shelf())

    assert run(sweep(), path).table.column("status").to_pylist() == ["ok"]
    lengths.write_text("512\n512\n")
    with pytest.raises(PlannerError, match=r"changed: lengths\)"):
        run(sweep(), path)
