"""Pictures are written whole or not at all."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.report.difference import time_parts
from planner.report.plots import STYLES, draw_search
from tests.report.samples import GIB, KNOBS, prediction

PARETO = [
    {"step_time_s": 10.0, "device_used_bytes": 60 * GIB, "devices": 64, "layout": KNOBS},
    {"step_time_s": 12.0, "device_used_bytes": 40 * GIB, "devices": 64, "layout": KNOBS},
]


@pytest.mark.parametrize("plans", [1, 3, 12])
def test_a_png_of_two_panels(plans: int, tmp_path: Path, examples: Path) -> None:
    job = load_job(examples / "llama3-70b-h100.yaml")
    path = tmp_path / "out.png"
    draw_search(path, job, [prediction() for _ in range(plans)], PARETO)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > 1.5 * height > 0
    assert [item.name for item in tmp_path.iterdir()] == ["out.png"]


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path, examples: Path) -> None:
    job = load_job(examples / "llama3-70b-h100.yaml")
    for name in ("a.png", "b.png"):
        draw_search(tmp_path / name, job, [prediction()], PARETO)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_every_class_of_the_step_has_its_own_look() -> None:
    assert set(time_parts(prediction().time)) == set(STYLES)
    assert len(set(STYLES.values())) == len(STYLES)


@pytest.mark.parametrize("simulated", [None, 12.5])
def test_simulated_steps_are_marked(simulated: float | None, tmp_path: Path, examples: Path) -> None:
    job = load_job(examples / "llama3-70b-h100.yaml")
    plans = [prediction(simulated_step_time_s=simulated), prediction()]
    draw_search(tmp_path / "out.svg", job, plans, PARETO)
    # The SVG names each text in a comment.
    assert ("<!-- simulated step -->" in (tmp_path / "out.svg").read_text()) is (simulated is not None)


@pytest.mark.parametrize("name", ["out.jpeg2", "out", "missing/out.png"])
def test_a_target_that_cannot_be_written(name: str, tmp_path: Path, examples: Path) -> None:
    job = load_job(examples / "llama3-70b-h100.yaml")
    with pytest.raises(PlannerError, match=r"ending|cannot be written"):
        draw_search(tmp_path / name, job, [prediction()], PARETO)
    assert list(tmp_path.iterdir()) == []
