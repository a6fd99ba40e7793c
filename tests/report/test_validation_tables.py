"""Tables of measured kernels and collectives beside their predictions."""

from __future__ import annotations

import io

from rich.console import Console

from planner.report.validation_tables import show_comparison
from planner.validation.points import Comparison, Point

SWEEP = {"accelerator": "h100", "operator": "all_reduce", "ranks": 16, "nodes": 2, "network": "efa-400"}


def kernel(predicted: float | None, measured: float = 1e-4) -> Point:
    labels = {"family": "gemm", "accelerator": "a100", "operator": "matmul", "band": "m >= 512"}
    reason = None if predicted else "no such rate"
    return Point("gemm.csv:2", labels, "m 512", measured, 0.0, predicted, reason)


def collective(band: str, predicted: float, apart: str | None = None) -> Point:
    labels = {"family": "aws", **SWEEP, "band": band}
    return Point(f"aws {band}", labels, "8 bytes", 1e-4, 0.0, predicted, None, apart)


def shown(comparison: Comparison, **options: bool) -> str:
    stream = io.StringIO()
    show_comparison(Console(file=stream, width=120), comparison, **options)
    return stream.getvalue()


def test_a_group_is_one_line_with_its_errors() -> None:
    text = shown(Comparison(tuple(kernel(value) for value in (1.1e-4, 1.3e-4, 0.8e-4))))
    (line,) = [line for line in text.splitlines() if line.split()[:3] == ["gemm", "a100", "matmul"]]
    assert line.split()[-11:] == ["3", "20.0", "%", "20.0", "%", "28.0", "%", "30.0", "%", "+10.0", "%"]
    assert "median 20.0 %" in text
    assert "3 of 3 points predicted" in " ".join(text.split())


def test_a_sweep_is_one_line_with_its_bands_side_by_side() -> None:
    points = (collective("< 1 MiB", 0.5e-4), collective("1-64 MiB", 0.9e-4), collective(">= 64 MiB", 1.02e-4))
    text = shown(Comparison(points))
    (line,) = [line for line in text.splitlines() if "16 on 2" in line]
    figures = line.split("16 on 2")[1].split()
    assert figures == ["3", "50.0", "%", "10.0", "%", "2.0", "%", "50.0", "%", "-50.0", "%"]


def test_what_is_scored_apart_has_its_own_table_with_the_reason() -> None:
    comparison = Comparison(
        (collective("1-64 MiB", 1e-4), collective("1-64 MiB", 3e-4, "network not stated")),
        {"aws": "network not stated: efa-400"},
    )
    text = shown(comparison)
    counted, apart = text.split("Scored apart")
    assert "200.0 %" not in counted.split("Each group")[0]
    assert "200.0 %" in apart
    assert "network not stated" in apart
    assert "assumed for aws: network not stated: efa-400" in text


def test_refusals_are_counted_and_quiet_leaves_the_rest_out() -> None:
    comparison = Comparison((kernel(1.1e-4), kernel(None), kernel(None)))
    text = shown(comparison)
    assert "1 of 3" in text
    assert "refused: 2 × no such rate" in text
    assert "Largest errors" in text
    quiet = shown(comparison, quiet=True)
    assert "Largest errors" not in quiet
    assert "refused" not in quiet


def test_nothing_predicted_prints_dashes() -> None:
    text = shown(Comparison((kernel(None),)))
    assert "0 of 1" in text
    assert "median -" in text
