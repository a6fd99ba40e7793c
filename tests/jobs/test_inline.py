"""Fields inside a model or cluster that the job only names."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.documents import load_document, write_yaml
from planner.errors import PlannerError
from planner.jobs.inline import cluster_mapping
from planner.jobs.loader import load_job

JOB = {
    "model": "llama3-8b",
    "cluster": "h100-superpod",
    "devices": 16,
    "training": {"global_batch": 32, "seq_len": 4096},
}


def test_single_fields_of_named_parts_change_and_the_rest_stays() -> None:
    plain = load_job(JOB)
    changed = load_job(JOB, overrides={"model.layers": 4, "cluster.price_per_device_hour": "2.5 USD/h"})
    assert changed.model.layers == 4
    assert changed.model.hidden == plain.model.hidden == 4096  # Llama 3 8B, arXiv 2407.21783 table 3
    assert changed.cluster.price_per_device_hour == 2.5
    assert changed.cluster.network == plain.cluster.network
    assert changed.cluster.accelerator == plain.cluster.accelerator


def test_a_whole_part_may_be_replaced_first() -> None:
    job = load_job(JOB, overrides={"model": "llama3-70b", "model.layers": 8})
    assert (job.model.layers, job.model.hidden) == (8, 8192)


def test_a_model_file_loses_only_what_is_true_of_the_published_model(tmp_path: Path) -> None:
    write_yaml(
        tmp_path / "mine.yaml",
        {
            "layers": 2,
            "hidden": 64,
            "heads": 4,
            "ffn_hidden": 256,
            "vocab": 100,
            "published_parameters": 117_000,
        }
        | {"published_tolerance": 0.5},
    )
    write_yaml(tmp_path / "job.yaml", {**JOB, "model": "mine.yaml"})
    assert load_job(tmp_path / "job.yaml", overrides={"model.layers": 40}).model.layers == 40


def test_files_beside_a_cluster_file_are_found_from_elsewhere(tmp_path: Path, root: Path) -> None:
    (tmp_path / "clusters").mkdir()
    data = {
        **load_document(root / "hardware_specs" / "clusters" / "h100-superpod.yaml").data,
        "links": "pairs.csv",
    }
    write_yaml(tmp_path / "clusters" / "mine.yaml", data)
    stated = cluster_mapping("clusters/mine.yaml", tmp_path)
    assert stated["links"] == str(tmp_path / "clusters" / "pairs.csv")


def test_keys_below_a_plain_value_are_refused() -> None:
    with pytest.raises(PlannerError, match=r"training\.seq_len\.x: cannot be set"):
        load_job(JOB, overrides={"training.seq_len.x": 1})
