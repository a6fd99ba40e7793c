"""``schedule=csv:FILE``: found beside the job, checked against the layout, refused where only a simulation can price it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.cli.main import run
from planner.simulator.schedules.csv_file import write_schedule
from planner.simulator.schedules.generate import make_schedule

JOB = """
model: {layers: 8, hidden: 512, heads: 8, ffn_hidden: 2048, vocab: 1024}
cluster: h100-superpod
devices: 8
training: {global_batch: 16, seq_len: 512, framework: megatron-core}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of 8 devices beside a schedule of 4 ranks, 2 chunks, 8 micro-batches."""
    (tmp_path / "job.yaml").write_text(JOB)
    schedule = make_schedule("zb_v", ranks=4, chunks=2, micro_batches=8)
    write_schedule(tmp_path / "mine.csv", schedule)
    return tmp_path / "job.yaml"


def test_check_reads_the_file_beside_the_job(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = "pp=4,vpp=2,dp=2,schedule=csv:mine.csv"
    assert run(["check", str(job), "--layout", layout, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["legal"] is True
    assert answer["fits"] is None
    assert answer["layout"]["schedule"] == f"csv:{job.parent}/mine.csv"
    assert run(["check", str(job), "--layout", layout]) == 0
    assert "needs plan simulate" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            "check {job} --layout pp=4,vpp=1,schedule=csv:mine.csv",
            "holds 8 stages, but the layout has pp x vpp = 4",
        ),
        (
            "check {job} --layout pp=2,vpp=4,schedule=csv:mine.csv",
            "holds 4 rows (ranks), but the layout has pp = 2",
        ),
        (
            "check {job} --layout pp=4,vpp=2,micro_batch=2,schedule=csv:mine.csv",
            "holds 8 micro-batches, but the layout has grad_accum = 4",
        ),
        ("check {job} --layout pp=4,vpp=2,schedule=csv:none.csv", "none.csv: does not exist"),
        ("estimate {job} --layout pp=4,vpp=2,schedule=csv:mine.csv", "event simulation (plan simulate)"),
        ("estimate {job} --layout pp=4,schedule=seq1f1b", "megatron-core runs the schedules"),
        ("search {job} --set search.fix.schedule=csv:mine.csv", "only an event simulation can cost"),
        ("search {job} --set search.allow.schedule=[1f1b,csv]", "only an event simulation can cost"),
    ],
)
def test_what_is_refused(job: Path, argv: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv.format(job=job).split(" ")) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_a_plan_brings_its_file_along(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The knob in a plan is the file's full path, so the plan may lie elsewhere."""
    folder = job.parent / "plans"
    folder.mkdir()
    layout = f"layout: {{pp: 4, vpp: 2, dp: 2, schedule: 'csv:{job.parent}/mine.csv'}}\n"
    body = "".join(f"  {line}\n" for line in JOB.strip().splitlines())
    (folder / "plan.yaml").write_text(f"job:\n{body}{layout}")
    assert run(["check", str(folder / "plan.yaml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["legal"] is True


@pytest.mark.parametrize("comms", [False, True])
def test_a_file_runs_like_the_schedule_that_it_holds(
    comms: bool, job: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ZB-V by name and from its file, with and without listed transfers."""
    schedule = make_schedule("zb_v", ranks=4, chunks=2, micro_batches=8)
    write_schedule(job.parent / "mine.csv", schedule, comms=comms)
    steps = []
    for name in ("zb_v", "csv:mine.csv"):
        argv = ["simulate", str(job), "--set", "training.framework=ideal", "--json", "-q"]
        assert run([*argv, "--layout", f"pp=4,vpp=2,dp=2,schedule={name}"]) == 0
        steps.append(json.loads(capsys.readouterr().out)["step_time_s"])
    assert steps[0] == pytest.approx(steps[1], rel=1e-9)
