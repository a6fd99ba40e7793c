"""``plan search`` on every example, and what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.cli.main import run
from planner.jobs.plan import read_plan

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def search(job: Path | str, *options: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["search", str(job), *options, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer = json.loads(captured.out)
    assert isinstance(answer, dict)
    return answer


def test_the_examples_of_the_documentation_are_there() -> None:
    assert len(EXAMPLES) >= 11


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = search(path, "--top", "3", capsys=capsys)
    plans = answer["plans"]
    assert [plan["rank"] for plan in plans] == [1, 2, 3]
    times = [plan["step_time_s"] for plan in plans]
    assert times == sorted(times)
    for plan in plans:
        memory = plan["memory"]
        assert memory["fits"] is True
        assert memory["device_used_bytes"] + memory["reserve_bytes"] <= memory["capacity_bytes"]
        assert 0 < plan["mfu"] <= plan["hfu"] < 1
        assert plan["interval_s"][0] < plan["step_time_s"] < plan["interval_s"][1]
    space, certificate = answer["space"], answer["certificate"]
    assert space["evaluated"] + sum(space["pruned"].values()) == space["candidates"]
    assert certificate["best_s"] == pytest.approx(times[0])
    assert certificate["gap"] == 0.0
    assert answer["pareto"]


def test_the_best_plan_is_written_and_read_back(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    best = search(examples / "llama3-8b-h100.yaml", "--top", "1", "-o", str(plan), capsys=capsys)["plans"][0]
    assert run(["estimate", str(plan), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again | {"rank": 1} == best
    # A plan takes a job's place: the same search gives the same plan.
    assert search(plan, "--top", "1", capsys=capsys)["plans"][0] == best


def test_for_people(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "out.png"
    assert run(["search", str(examples / "llama3-8b-h100.yaml"), "--explain", "--plot", str(picture)]) == 0
    text = capsys.readouterr().out
    for words in (
        "The best plan",
        "Why the others lost",
        "Pareto set",
        "legal layouts",
        "proved optimal",
        "Ranking",
        str(picture),
    ):
        assert words in text
    assert picture.stat().st_size > 10_000


def test_explanations_add_up(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = search(examples / "llama3-8b-h100.yaml", "--top", "1", "--explain", capsys=capsys)
    best = answer["plans"][0]
    assert len(answer["explanation"]) > 5
    for item in answer["explanation"]:
        assert sum(item["time_difference_s"].values()) == pytest.approx(
            item["step_time_difference_s"], abs=1e-9
        )
        assert (item["missing_bytes"] > 0) != item["fits"]
        # Nothing that fits and that the framework offers can be faster than the proved best.
        if item["fits"] and item["layout"]["schedule"] in ("1f1b", "interleaved_1f1b"):
            assert item["step_time_s"] >= best["step_time_s"] * (1 - 1e-12)


def test_nothing_fits_is_exit_code_1(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-70b-h100.yaml")
    assert run(["search", job, "--devices", "8", "--set", "search.allow.offload=[none]"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_a_faulty_search_option_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "model: llama3-8b\ncluster: h100-superpod\ndevices: 8\n"
        "training: {global_batch: 8}\nsearch:\n  fix: {schedule: 1f2b}\n"
    )
    assert run(["search", str(job)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {job}:6: search.fix.schedule: ")


def test_the_command_line_is_blamed_for_what_it_set(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", str(examples / "llama3-8b-h100.yaml"), "--set", "training.seq_len=8x"]) == 2
    assert capsys.readouterr().err.startswith("error: command line: training.seq_len: ")


def test_a_time_limit_that_is_not_reached_changes_nothing(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = examples / "llama3-8b-h100.yaml"
    limited = search(job, "--time-limit", "1 h", "--top", "2", capsys=capsys)
    assert limited["plans"] == search(job, "--top", "2", capsys=capsys)["plans"]


def test_a_time_limit_too_short_for_any_layout_is_no_answer(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(examples / "gpt3-175b-a100.yaml")
    assert run(["search", job, "--time-limit", "1 ns"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_gap_may_stop_early(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = examples / "llama3-8b-h100.yaml"
    exact = search(job, "--top", "1", capsys=capsys)["plans"][0]["step_time_s"]
    near = search(job, "--top", "1", "--gap", "10%", capsys=capsys)
    assert near["plans"][0]["step_time_s"] <= 1.1 * exact
    assert near["certificate"]["gap"] <= 0.1


@pytest.mark.parametrize(
    "options", [("--plot", "out.bmp"), ("--plot", "no/out.png"), ("-o", "no/plan.yaml"), ("-o", ".")]
)
def test_targets_are_checked_before_the_work(
    options: tuple[str, str], examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("planner.solvers.search.search", None)
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["search", job, "-o", "plan.yaml", *options]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_fewest_devices_for_a_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, plan = tmp_path / "job.yaml", tmp_path / "plan.yaml"
    job.write_text(
        "model: llama3-8b\ncluster: h100-superpod\ndevices: 32\n"
        "training: {global_batch: 128, seq_len: 8192}\n"
        "search: {objective: devices, target: {tokens_per_s: 150000}}\n"
    )
    best = search(job, "--top", "1", "-o", str(plan), "--explain", capsys=capsys)["plans"][0]
    layout = best["layout"]
    devices = layout["tp"] * layout["cp"] * layout["pp"] * layout["dp"]
    assert best["tokens_per_s"] >= 150000
    assert devices < 32
    assert best["tokens_per_s_per_device"] * devices == pytest.approx(best["tokens_per_s"])
    # The plan is one of that many devices and predicts the same.
    assert run(["estimate", str(plan), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) | {"rank": 1} == best


def test_refinement_by_simulation(examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, file = examples / "gpt-20b-frontier.yaml", tmp_path / "plan.yaml"
    answer = search(job, "--refine", "6", "--top", "4", "-o", str(file), capsys=capsys)
    plans, refinement = answer["plans"], answer["refinement"]
    assert [plan["rank"] for plan in plans] == [1, 2, 3, 4]
    simulated = [plan["simulated_step_time_s"] for plan in plans]
    assert simulated == sorted(simulated)
    rows = refinement["plans"]
    assert refinement["simulated"] == len(rows) == 6
    assert sorted(row["closed_form_rank"] for row in rows) == [1, 2, 3, 4, 5, 6]
    assert [row["layout"] for row in rows[:4]] == [plan["layout"] for plan in plans]
    for row in rows:
        assert row["difference"] == pytest.approx(row["simulated_s"] / row["closed_form_s"] - 1)
    # The certificate stays the closed form's, and the plan file holds the new best.
    plain = search(job, "--top", "7", capsys=capsys)
    claim = answer["certificate"].pop("simulation")
    assert answer["certificate"] == plain["certificate"]
    assert claim["closed_form_of_next_s"] == plain["plans"][6]["step_time_s"]
    assert "refinement" not in plain
    assert read_plan(file).prediction["simulated_step_time_s"] == simulated[0]
    assert dict(read_plan(file).knobs) == plans[0]["layout"]


def test_refinement_for_people(examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    assert run(["search", job, "--refine", "3", "--top", "2", "--explain"]) == 0
    text = capsys.readouterr().out
    for words in ("3 layouts simulated in", "simulation ", "Kendall tau", "closed form", "moved"):
        assert words in text
    assert run(["search", job, "--refine", "1", "-q"]) == 0
    quiet = capsys.readouterr()
    assert "moved" in quiet.out
    assert "simulated in" not in quiet.out
    assert quiet.err == ""


@pytest.mark.parametrize("count", ["0", "-3", "1001", "many"])
def test_refine_takes_a_count(count: str, examples: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["search", str(examples / "llama3-8b-h100.yaml"), "--refine", count]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--refine" in captured.err


def test_refining_memory_is_refused_at_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "model: llama3-8b\ncluster: h100-superpod\ndevices: 8\n"
        "training: {global_batch: 8}\nsearch:\n  objective: memory\n"
    )
    assert run(["search", str(job), "--refine", "5"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {job}:6: search.objective: found 'memory'")
    assert error.count("\n") == 1


def test_a_schedule_without_a_closed_form_cannot_be_searched_to_refine(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = str(examples / "llama3-8b-h100.yaml")
    settings = ("--set", "training.framework=ideal", "--set", "search.allow.schedule=[v_half]")
    assert run(["search", job, "--refine", "5", *settings]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "v_half" in captured.err
