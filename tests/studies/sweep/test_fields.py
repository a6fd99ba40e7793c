"""Which fields a sweep may vary, and how they are named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.jobs.files import JobFile
from planner.jobs.loader import load_job
from planner.studies.sweep.fields import LAYOUT, Field, find_field, hardware_fields, job_fields, knob_fields


@pytest.fixture(scope="module")
def fields(examples: Path) -> Mapping[str, Field]:
    hardware = hardware_fields(load_job(examples / "llama3-70b-h100.yaml"))
    return {**job_fields(examples), **hardware}


def test_every_key_of_a_job_file_is_there(fields: Mapping[str, Field]) -> None:
    sections = {path.partition(".")[0] for path in fields}
    assert set(JobFile.model_fields) <= sections


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("seq_len", "training.seq_len"),
        ("global_batch", "training.global_batch"),
        ("layers", "model.layers"),
        ("hidden", "model.hidden"),
        ("experts", "model.moe.experts"),
        ("accelerator", "cluster.accelerator"),
        ("nodes", "cluster.nodes"),
        ("memory", "hardware.memory"),
        ("infiniband.bandwidth", "hardware.infiniband.bandwidth"),
        ("tp", "search.fix.tp"),
        ("objective", "search.objective"),
    ],
)
def test_the_last_part_of_a_path_is_enough(fields: Mapping[str, Field], given: str, path: str) -> None:
    assert find_field(given, fields).path == path


def test_with_a_layout_short_names_of_knobs_mean_its_own(fields: Mapping[str, Field]) -> None:
    knobs = {field.path: field for field in knob_fields(LAYOUT)}
    assert find_field("tp", {**fields, **knobs}).path == "layout.tp"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("seq_lne", "did you mean 'seq_len'?"),
        ("price", "did you mean 'price_per_device_hour'?"),
        ("training.seqlen", "did you mean 'training.seq_len'?"),
        ("hardware.memory_bandwith", "did you mean 'hardware.memory_bandwidth'?"),
        ("bandwidth", "may be hardware.infiniband.bandwidth or hardware.nvlink.bandwidth; name one"),
    ],
)
def test_unknown_and_ambiguous_names(fields: Mapping[str, Field], given: str, words: str) -> None:
    with pytest.raises(PlannerError) as caught:
        find_field(given, fields)
    assert words in str(caught.value)
