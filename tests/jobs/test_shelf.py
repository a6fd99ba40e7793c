"""Parts kept between jobs change nothing but the time that it takes to read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.jobs.loader import open_job, override, resolve
from planner.jobs.shelf import Shelf


def test_jobs_from_a_shelf_equal_jobs_read_one_by_one(root: Path) -> None:
    shelf = Shelf()
    for example in ("llama3-8b-h100", "deepseek-v3-h800", "moe-2b-l40s-internet"):
        place = open_job(root / "examples" / f"{example}.yaml")
        for changes in ({}, {"training.global_batch": 64}, {"training.framework": "fsdp"}):
            changed = override(place, changes)
            assert resolve(changed, shelf=shelf) == resolve(changed)


def test_a_cluster_is_read_once_and_cut_for_each_job(root: Path) -> None:
    shelf = Shelf()
    place = open_job(root / "examples" / "llama3-8b-h100.yaml")
    jobs = [resolve(override(place, {"devices": count}), shelf=shelf) for count in (8, 64, 8)]
    assert [job.devices for job in jobs] == [8, 64, 8]
    assert jobs[0].cluster.accelerator is jobs[1].cluster.accelerator
    assert jobs[0].model is jobs[1].model


def test_a_mapping_is_its_own_part(root: Path) -> None:
    shelf = Shelf()
    place = open_job(root / "examples" / "llama3-8b-h100.yaml")
    layers = [
        resolve(
            override(place, {"model": {"preset": "llama3-8b", "layers": count}}), shelf=shelf
        ).model.layers
        for count in (2, 4, 2)
    ]
    assert layers == [2, 4, 2]


def test_what_cannot_be_read_is_told_each_time(root: Path) -> None:
    shelf = Shelf()
    place = override(open_job(root / "examples" / "llama3-8b-h100.yaml"), {"model": "lama3-8b"})
    for _ in range(2):
        with pytest.raises(PlannerError, match="did you mean 'llama3-8b'"):
            resolve(place, shelf=shelf)
