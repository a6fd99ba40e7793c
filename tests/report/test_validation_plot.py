"""Pictures of predicted against measured times."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.report.validation_plot import draw_comparison
from planner.validation.points import Comparison, Point


def point(predicted: float | None, apart: str | None = None) -> Point:
    labels = {"family": "f", "accelerator": "a100", "operator": "matmul", "band": "all"}
    return Point("p", labels, "", 1e-4, 0.0, predicted, None if predicted else "why", apart)


def test_a_picture_is_written_whole(tmp_path: Path) -> None:
    file = tmp_path / "errors.png"
    points = (point(1e-4), point(2e-4), point(9e-4, "doubted"), point(None))
    draw_comparison(file, Comparison(points), "Kernels")
    assert file.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [file]


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    comparison = Comparison((point(1e-4), point(2e-4)))
    for name in ("a.png", "b.png"):
        draw_comparison(tmp_path / name, comparison, "Kernels")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_nothing_to_draw_and_endings_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="nothing is predicted"):
        draw_comparison(tmp_path / "a.png", Comparison((point(None),)), "Kernels")
    with pytest.raises(PlannerError, match=r"accepted: \.png"):
        draw_comparison(tmp_path / "a.gif", Comparison((point(1e-4),)), "Kernels")
    assert list(tmp_path.iterdir()) == []
