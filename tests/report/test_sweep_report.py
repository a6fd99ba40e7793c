"""What a sweep's table and pictures say, from rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from planner.errors import NoAnswerError, PlannerError
from planner.report.sweep_heat import heat_fields
from planner.report.sweep_panels import x_field
from planner.report.sweep_plots import draw_sweep
from planner.report.sweep_table import field_names, print_sweep, value_words
from planner.studies.sweep.rows import column_kinds
from planner.studies.sweep.table import to_table

GIB = 2.0**30


def row(devices: int, name: str, speed: float, **changes: Any) -> dict[str, Any]:
    """A point with a plan of so many tokens per second and device."""
    return {
        "devices": devices,
        "model": name,
        "status": "ok",
        "cluster": "h100-superpod",
        "step_time_s": 1.0,
        "tokens_per_s": devices * speed,
        "tokens_per_s_per_device": speed,
        "mfu": speed / 200,
        "device_used_bytes": speed * GIB,
        "capacity_bytes": 80 * GIB,
        "fits": True,
        "dp": devices,
        "key": f"{devices}{name}",
        **changes,
    }


ROWS = [
    row(8, "a", 70.0, cost_per_million_tokens=2.0),
    row(8, "b", 50.0, cost_per_million_tokens=3.0),
    row(16, "a", 90.0, fits=False),
    row(16, "b", 40.0, cost_per_million_tokens=2.5),
    {"devices": 24, "model": "a", "status": "bad_input", "message": "no such share", "key": "x"},
    {"devices": 24, "model": "b", "status": "bad_input", "message": "no such share", "key": "y"},
]
FIELDS = ["devices", "model"]


def table(rows: list[dict[str, Any]]) -> Any:
    return to_table(rows, column_kinds({"devices": [8], "model": ["a"]}))


def printed(rows: list[dict[str, Any]], top: int = 20, *, quiet: bool = False) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    print_sweep(console, table(rows), top=top, quiet=quiet)
    return console.export_text()


def test_the_table_names_what_failed_and_the_best_that_fit() -> None:
    text = printed(ROWS)
    assert "6 points" in text
    assert "1 of 6 points do not fit in memory" in text
    assert "2 of 6 points have no plan:\n  2 × bad_input: no such share" in text
    assert "most tokens/s: 640 at devices 16, model b" in text
    assert "most per device: 70 at devices 8, model a" in text
    assert "cheapest: 2.000 per million tokens at devices 8, model a" in text


def test_a_long_table_shows_the_best_that_fit() -> None:
    text = printed(ROWS, top=2, quiet=True)
    assert "the 2 with most tokens/s per device" in text
    assert [line.split()[:2] for line in text.splitlines()[4:6]] == [["8", "a"], ["8", "b"]]


def test_nothing_that_fits() -> None:
    assert "no point has a plan that fits" in printed(ROWS[4:])
    with pytest.raises(NoAnswerError, match="nothing to draw"):
        draw_sweep("x.png", table(ROWS[4:]))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("hardware.memory_bandwidth.factor", 0.5, "×0.5"),
        ("hardware.memory_bandwidth", 3.35e12, "3.35 TB/s"),
        ("hardware.nvlink.latency", 5e-7, "500 ns"),
        ("hardware.peak_flops", 989e12, "989 TFLOP/s"),
        ("training.seq_len", 8192, "8192"),
        ("training.tokens", 15_000_000, "15,000,000"),
        ("training.capture", True, "yes"),
        ("model", None, "-"),
    ],
)
def test_values_in_units_that_read_best(path: str, value: Any, words: str) -> None:
    assert value_words(path, value) == words


def test_short_names_stay_apart() -> None:
    names = field_names(["training.seq_len", "model.seq_len", "hardware.infiniband.bandwidth.factor"])
    assert list(names.values()) == ["training.seq_len", "model.seq_len", "infiniband.bandwidth"]


def test_curves_run_along_devices_or_the_first_numeric_field() -> None:
    assert x_field(ROWS[:4], FIELDS) == "devices"
    assert x_field(ROWS[:2], FIELDS) is None


def test_fields_of_the_heat_map() -> None:
    assert heat_fields(ROWS, FIELDS, None) == ("devices", "model")
    assert heat_fields(ROWS, FIELDS, ("model", "devices")) == ("model", "devices")
    with pytest.raises(PlannerError, match="did you mean 'devices'"):
        heat_fields(ROWS, FIELDS, ("device", "model"))
    with pytest.raises(PlannerError, match="two swept fields"):
        heat_fields(ROWS, FIELDS, ("devices",))
    many = [row(count, "a", 1.0) for count in range(1, 60)]
    with pytest.raises(PlannerError, match="59 values; at most 40"):
        heat_fields(many, FIELDS, ("devices", "model"))


def test_pictures_in_a_folder_and_in_one_file(tmp_path: Path) -> None:
    files = draw_sweep(tmp_path / "folder", table(ROWS))
    assert [file.stem for file in files] == ["scaling", "utilisation", "tradeoff", "cost", "heat"]
    (one,) = draw_sweep(tmp_path / "all.svg", table(ROWS))
    text = one.read_text()
    assert text.count('<g id="axes_') >= 5
    many = [row(count, f"m{count}", 50.0 + count) for count in (1, 2, 4, 8, 16, 32, 64)]
    assert len(draw_sweep(tmp_path / "many", table(many))) == 4  # without prices no cost
