"""Plan files: written twice they are identical; read back they predict the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.costs.predict import predict
from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.jobs.plan import plan_content, read_plan, write_plan
from planner.jobs.provenance import changed, fingerprint, provenance
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout

KNOBS = "tp=2,pp=2,vpp=4,micro_batch=2,recompute=selective,zero_stage=1"


@pytest.fixture(scope="module")
def job() -> Job:
    return load_job(
        {
            "name": "small",
            "model": "llama3-8b",
            "cluster": "h100-superpod",
            "devices": 16,
            "training": {"global_batch": 32, "seq_len": 4096, "tokens": "1T"},
        }
    )


@pytest.mark.parametrize(
    "knobs", [KNOBS, "tp=8", "cp=2,ulysses=2,offload.optimizer=host:0.5", "zero_stage=1"]
)
def test_a_plan_read_back_predicts_the_same(job: Job, tmp_path: Path, knobs: str) -> None:
    prediction = predict(job, parse_layout(knobs, job))
    path = tmp_path / "plan.yaml"
    write_plan(path, job, prediction)
    plan = read_plan(path)
    again = predict(plan.job, parse_layout(plan.knobs, plan.job))
    assert again.to_json() == prediction.to_json()
    stored = {**plan.prediction, "layout": dict(plan.knobs)}
    assert stored == prediction.to_json()
    assert plan.outdated == ()


def test_writing_twice_is_identical(job: Job, tmp_path: Path) -> None:
    prediction = predict(job, parse_layout(KNOBS, job))
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    write_plan(first, job, prediction)
    write_plan(second, read_plan(first).job, prediction)
    assert first.read_bytes() == second.read_bytes()


def test_overrides_reach_the_job_of_a_plan(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, job, predict(job, parse_layout(KNOBS, job)))
    assert read_plan(path, overrides={"training.seq_len": "8K"}).job.training.seq_len == 8192


def test_provenance_tells_which_input_changed(job: Job) -> None:
    other = load_job({**job.source, "cluster": "a100-superpod"})
    assert changed(provenance(job), provenance(other)) == ("cluster",)
    assert provenance(job) == provenance(load_job(dict(job.source)))


def test_an_old_plan_names_what_changed_since(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, job, predict(job, parse_layout(KNOBS, job)))
    path.write_text(path.read_text().replace(provenance(job)["model"], "sha256:0000000000000000"))
    assert read_plan(path).outdated == ("model",)


def test_fingerprint_ignores_the_order_of_sets_and_keys() -> None:
    assert fingerprint({"a": frozenset("xyz"), "b": 1}) == fingerprint({"b": 1, "a": frozenset("zyx")})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_a_job_is_no_plan(examples: Path) -> None:
    with pytest.raises(PlannerError, match="is no plan file"):
        read_plan(examples / "llama3-8b-h100.yaml")


def test_a_faulty_plan_names_its_line(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, job, predict(job, parse_layout(KNOBS, job)))
    text = path.read_text()
    line = text.splitlines().index("  model: llama3-8b") + 1
    path.write_text(text.replace("  model: llama3-8b", "  model: llama3-9b", 1))
    with pytest.raises(PlannerError) as caught:
        read_plan(path)
    assert (caught.value.line, caught.value.field) == (line, "job.model")
    path.write_text("extra: 1\n" + text)
    with pytest.raises(PlannerError, match="unknown key"):
        read_plan(path)


def test_the_content_holds_job_layout_prediction_and_provenance(job: Job) -> None:
    content = plan_content(job, predict(job, parse_layout(KNOBS, job)))
    assert list(content) == ["job", "layout", "prediction", "provenance"]
    assert content["layout"]["tp"] == 2
    assert "layout" not in content["prediction"]
