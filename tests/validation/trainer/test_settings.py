"""Settings of a run: what a job and a layout become, JSON both ways, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.jobs.types import Job
from planner.layouts.knobs import parse_layout
from planner.validation.trainer.settings import Settings, settings_of

MODEL: dict[str, Any] = {
    "layers": 4,
    "hidden": 64,
    "heads": 4,
    "kv_heads": 2,
    "ffn_hidden": 96,
    "vocab": 100,
    "seq_len": 32,
}


def _job(devices: int = 8, framework: str = "megatron-core", model: Any = None, **training: Any) -> Job:
    section = {"global_batch": 8, "precision": "fp32", "framework": framework, **training}
    content = {"model": MODEL | (model or {}), "cluster": "h100-superpod", "devices": devices}
    return load_job(content | {"training": section})


def _settings(job: Job, layout: str, **options: Any) -> Settings:
    return settings_of(job, parse_layout(layout, job), **options)


def test_json_gives_the_same_settings_back() -> None:
    job = _job(moe={"router_imbalance": 1.0}, loss={"vocab_parallel": False})
    knobs = "tp=2,cp=2,ulysses=2,pp=2,recompute=full,layers_per_stage=[1,3]"
    settings = _settings(job, knobs, seed=7, routing="balanced")
    assert Settings.from_json(settings.to_json()) == settings


def test_bad_json_names_the_field() -> None:
    text = (
        _settings(_job(1), "tp=1")
        .to_json()
        .replace('"seq_len": 32,\n "global', '"seq_len": "many",\n "global')
    )
    with pytest.raises(PlannerError, match=r"run.json: seq_len"):
        Settings.from_json(text, file="run.json")


@pytest.mark.parametrize(
    ("framework", "precision", "double", "compute", "stored"),
    [
        ("megatron-core", "bf16", False, "bfloat16", "bfloat16"),  # 16-bit weights, fp32 master
        ("torchtitan", "bf16", False, "bfloat16", "float32"),  # fp32 shards, gathered in 16 bits
        ("torchtitan", "bf16", True, "float64", "float64"),
        ("megatron-core", "fp32", False, "float32", "float32"),
    ],
)
def test_weights_are_stored_as_the_profile_says(
    framework: str, precision: str, double: bool, compute: str, stored: str
) -> None:
    settings = _settings(_job(1, framework, precision=precision), "tp=1", double=double)
    assert (settings.compute_dtype, settings.parameter_dtype) == (compute, stored)


REFUSED: dict[str, tuple[Callable[[], Job], str, str]] = {
    "dropout": (lambda: _job(dropout=0.1), "tp=1", "training.dropout"),
    "precision": (lambda: _job(precision="fp8"), "tp=1", "training.precision"),
    "optimizer": (lambda: _job(optimizer="sgd"), "tp=1", "training.optimizer"),
    "framework": (lambda: _job(framework="maxtext"), "zero_stage=3", "training.framework"),
    "window": (lambda: _job(model={"sliding_window": 8}), "tp=1", "model.layer_pattern"),
    "parallel": (lambda: _job(model={"parallel_block": True}), "tp=1", "model.parallel_block"),
    "offload": (lambda: _job(), "offload.optimizer=host", "layout.offload"),
    "kv": (lambda: _job(framework="fsdp"), "tp=4", "layout.tp"),
    "vocabulary": (lambda: _job(model={"vocab": 101}), "tp=2", "model.pad_vocab_to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_trainer_does_not_run_is_named(case: str) -> None:
    make, layout, field = REFUSED[case]
    with pytest.raises(PlannerError) as caught:
        _settings(make(), layout)
    assert caught.value.field == field
