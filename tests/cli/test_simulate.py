"""plan simulate: answers for people and programs, files, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run
from tests.simulator.chrome_trace import check_trace, read_trace

LAYOUT = "tp=8,pp=4,zero_stage=1,recompute=full,micro_batch=4"


@pytest.fixture
def job(examples: Path) -> str:
    return str(examples / "llama3-70b-h100.yaml")


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    payload = json.loads(capsys.readouterr().out)
    assert isinstance(payload, dict)
    return payload


def test_the_simulated_prediction_adds_up(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job, "--layout", LAYOUT, "--what-if", "--json"]) == 0
    plan = read(capsys)
    for entry in (plan, *plan["ranks"]):
        time, memory = entry["time"], entry["memory"]
        parts = time["compute_s"] + time["optimizer_s"] + time["host_s"] + time["bubble_s"]
        assert parts + sum(time["exposed"].values()) == pytest.approx(plan["step_time_s"], rel=1e-9)
        assert sum(memory["by_class"].values()) == pytest.approx(memory["peak_bytes"], rel=1e-9)
    found = plan["simulation"]
    assert found["step_time_s"] == plan["step_time_s"]
    assert (found["devices"], found["actors"], len(found["ranks"])) == (64, 4, 4)
    shares = found["critical_path"]["shares"]
    assert sum(item["share"] for item in shares) == pytest.approx(1.0, rel=1e-9)
    causes = sum(item["seconds"] for item in found["causes"])
    assert found["estimate_s"] + causes == pytest.approx(plan["step_time_s"], rel=1e-12)
    saved = [item["saved_s"] for item in found["what_if"]]
    assert saved == sorted(saved, reverse=True)
    assert found["what_if"][0]["resource"] == "compute of all devices"


def test_the_answer_for_people_names_everything(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job, "--layout", LAYOUT, "--what-if"]) == 0
    text = capsys.readouterr().out
    for words in (
        "simulated",
        "estimated",
        "because:",
        "transfers that share links",
        "bubble:",
        "Step of the busiest pipeline rank",
        "Memory at the peak",
        "Transfers by axis",
        "Pipeline ranks",
        "B of stage 0, micro-batch 0",
        "links busy: nvlink",
        "critical path",
        "compute of stage 3",
        "What if one resource were 10 % faster",
        "kinds of devices for 64",
    ):
        assert words in text


def test_quiet_prints_the_main_table_only(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job, "--layout", LAYOUT, "-q"]) == 0
    text = capsys.readouterr().out
    assert "tp8+sp pp4 dp2" in text
    assert "critical path" not in text


def test_every_file_is_written_and_named(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("trace.json.gz", "page.html", "timeline.png", "memory.png", "schedule.csv")
    flags = ("--trace", "--html", "--timeline", "--memory-plot", "--schedule-csv")
    options = ["--window", "0-1.5"]
    options += [
        text for flag, name in zip(flags, names, strict=True) for text in (flag, str(tmp_path / name))
    ]
    assert run(["simulate", job, "--layout", LAYOUT, *options]) == 0
    text = capsys.readouterr().out
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(names)
    assert all(f"written to {tmp_path / name}" in text for name in names)
    events = read_trace(tmp_path / "trace.json.gz")
    check_trace(events)
    titles = [event["args"]["name"] for event in events if event["name"] == "process_name"]
    assert titles[1] == "rank 16 (pipeline rank 1, 16 devices)"
    assert {"F", "B", "update"} <= {event["name"].split()[0] for event in events if event["ph"] == "X"}
    counters = {event["name"] for event in events if event["ph"] == "C"}
    assert {"memory (GiB)", "nvlink out", "infiniband in"} <= counters
    assert any(event["ph"] == "s" for event in events)
    rows = (tmp_path / "schedule.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["0F0", "1F0", "2F0", "3F0"]


def test_a_slow_device_slows_the_step_and_is_named(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job, "--layout", LAYOUT, "--json"]) == 0
    before = read(capsys)
    options = [
        "--slow-device",
        "17=0.5",
        "--slow-link",
        "17:infiniband=0.5",
        "--speed-spread",
        "1%",
        "--seed",
        "3",
    ]
    assert run(["simulate", job, "--layout", LAYOUT, *options, "--json"]) == 0
    after = read(capsys)
    assert after["step_time_s"] > 1.3 * before["step_time_s"]
    assert after["simulation"]["actors"] > 4
    causes = {item["cause"]: item["seconds"] for item in after["simulation"]["causes"]}
    difference = after["step_time_s"] - before["step_time_s"]
    assert causes["slow devices and links, spread, jitter"] == pytest.approx(difference, rel=1e-9)


def test_without_sharing_no_link_is_loaded(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--no-sharing", "--no-slowdown", "--detail", "layer"]
    assert run(["simulate", job, "--layout", LAYOUT, *options]) == 0
    text = capsys.readouterr().out
    assert "links: none was loaded" in text
    assert "overlap slow-down switched off" in text
    assert "transfers that share links" not in text


def test_failures_change_the_expected_step(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--failures",
        "--mtbf",
        "5000 h",
        "--runs",
        "20",
        "--days",
        "10",
        "--failure-plot",
        str(tmp_path / "f.png"),
    ]
    assert run(["simulate", job, "--layout", LAYOUT, *options, "--json"]) == 0
    plan = read(capsys)
    assert 0.5 < plan["goodput"] < 1.0
    assert plan["expected_step_time_s"] == pytest.approx(plan["step_time_s"] / plan["goodput"])
    assert plan["failures"]["goodput"] == plan["goodput"]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


def test_a_plan_file_brings_its_own_layout(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = str(tmp_path / "plan.yaml")
    assert run(["estimate", job, "--layout", LAYOUT, "-o", plan, "-q"]) == 0
    capsys.readouterr()
    assert run(["simulate", plan, "--json"]) == 0
    from_plan = read(capsys)
    assert run(["simulate", job, "--layout", LAYOUT, "--json"]) == 0
    assert read(capsys) == from_plan


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trace", "missing/trace.json"], "the folder missing does not exist"),
        (["--html", "."], "is a directory"),
        (["--timeline", "out.bmp"], "found the ending '.bmp'; accepted: .png, .svg, .pdf"),
        (["--memory-plot", "out"], "found the ending ''"),
        (["--window", "3-1"], "--window: found '3-1'; accepted: two times, the earlier first"),
        (["--window", "3"], "--window: found"),
        (["--window", "500-600", "--timeline", "t.png"], "--window: found 500 s; the step ends at"),
        (["--slow-device", "64=0.5"], "--slow-device: found device 64; the job has 64 devices"),
        (["--slow-device", "1=2"], "--slow-device: found 2; accepted: the share that is left"),
        (["--slow-device", "fast"], "--slow-device: found 'fast'; accepted: 17=0.8"),
        (["--slow-link", "1:nvlnik=0.5"], "has no level 'nvlnik'; did you mean 'nvlink'?"),
        (["--jitter", "300%"], "--jitter: found 3"),
        (["--jitter", "nan"], "--jitter:"),
        (["--seed", "x"], "--seed:"),
        (["--mtbf", "50000 h"], "--mtbf needs --failures"),
        (["--failure-plot", "f.png"], "--failure-plot needs --failures"),
        (["--failures"], "--mtbf: the cluster gives no mean time between failures"),
        (["--failures", "--mtbf", "-1 h"], "--mtbf:"),
        (["--merge", "some"], "--merge"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    job: str,
    options: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["simulate", job, "--layout", LAYOUT, *options]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert words in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_job_needs_a_layout(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job]) == 2
    assert "a job needs --layout" in capsys.readouterr().err


def test_an_illegal_layout_is_refused(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", job, "--layout", "tp=3"]) == 2
    assert "does not divide the 64 devices" in capsys.readouterr().err


def test_a_schedule_of_ones_own_runs_as_ours_does(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.csv"
    assert run(["simulate", job, "--layout", LAYOUT, "--schedule-csv", str(file), "--json"]) == 0
    ours = read(capsys)
    assert run(["simulate", job, "--layout", f"{LAYOUT},schedule=csv:{file}", "--json"]) == 0
    own = read(capsys)
    assert own["step_time_s"] == ours["step_time_s"]
    assert own["simulation"]["estimate_s"] is None
    assert own["simulation"]["causes"] == []


def test_a_schedule_that_deadlocks_names_who_waits_for_what(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.csv"
    assert run(["simulate", job, "--layout", LAYOUT, "--schedule-csv", str(file), "-q"]) == 0
    capsys.readouterr()
    # The first rank wants its first gradient before it has sent anything.
    rows = file.read_text().splitlines()
    first = rows[0].split(",")
    forward, backward = first.index("0F0"), first.index("0B0")
    first[forward], first[backward] = "0B0", "0F0"
    file.write_text("\n".join([",".join(first), *rows[1:]]) + "\n")
    assert run(["simulate", job, "--layout", f"{LAYOUT},schedule=csv:{file}"]) == 2
    error = capsys.readouterr().err
    assert "deadlocks" in error
    assert "rank 0 waits at 0B0" in error


def test_a_schedule_without_a_micro_batch_names_rank_and_column(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.csv"
    assert run(["simulate", job, "--layout", LAYOUT, "--schedule-csv", str(file), "-q"]) == 0
    capsys.readouterr()
    file.write_text(file.read_text().replace("1F3,", "", 1))
    assert run(["simulate", job, "--layout", f"{LAYOUT},schedule=csv:{file}"]) == 2
    error = capsys.readouterr().err
    assert "1F3 is missing" in error
    assert "rank 1, column" in error


def test_micro_batches_of_their_own_lengths(
    job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("length\n" + "8K\n4K\n12K\n8K\n" * 4)
    assert run(["simulate", job, "--layout", LAYOUT, "--lengths", str(lengths), "--json"]) == 0
    plan = read(capsys)
    named = {item["cause"]: item["seconds"] for item in plan["simulation"]["causes"]}
    # The tokens are those of the job, but attention grows with the square of the length.
    assert named["micro-batches of their own lengths"] > 0
    assert plan["tokens_per_s"] * plan["step_time_s"] == pytest.approx(128 * 8192)


def test_lengths_that_do_not_match(job: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lengths = tmp_path / "lengths.csv"
    lengths.write_text("8K\n4K\n")
    assert run(["simulate", job, "--layout", LAYOUT, "--lengths", str(lengths)]) == 2
    assert "2 lengths for 16 micro-batches" in capsys.readouterr().err
    assert run(["simulate", job, "--layout", LAYOUT, "--lengths", str(tmp_path / "none.csv")]) == 2
    assert "--lengths" in capsys.readouterr().err
