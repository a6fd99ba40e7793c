"""Bars: figures of hand-made answers land beside what was asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from planner.errors import PlannerError
from planner.report.accuracy.bars import Bars, bar_lines, bars_section, load_bars
from planner.report.accuracy.figures import (
    Bands,
    Pick,
    Points,
    Runs,
    bands_inside,
    picked,
    point_error,
    step_errors,
)
from planner.report.accuracy.sources import Notes, Sources


def run(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    """A run that took 10 s."""
    plain = {
        "family": "dgxc",
        "accelerator": "h100",
        "precision": "bf16",
        "experts": False,
        "scored": "complete",
    }
    return {"id": name, **plain, "measured_s": 10.0, "predicted_s": seconds, "error": seconds / 10 - 1} | more


ROWS = [
    run("a", 11.0),
    run("b", 9.7),
    run("c", 10.5),
    run("fp8", 20.0, precision="fp8"),
    run("moe", 20.0, experts=True),
    run("doubtful", 20.0, scored="doubtful"),
    run("other", 20.0, family="nemo"),
]
LEFT_OUT = {
    "row_fields": ["id", "measured_s", "priors_s", "in_sample_s", "model_out_s", "family_out_s"],
    "rows": [["a", 10.0, 1.0, 1.0, 12.0, 14.0], ["b", 10.0, 1.0, 1.0, 9.0, None]],
    "macro": {"model_out": 0.05},
}
GROUPS = [
    {"family": "one", "skilled": True, "error": -0.04},
    {"family": "two", "skilled": False, "error": 0.02},
    {"family": "three", "skilled": None, "error": None},
]
RUNS = {"rows": ROWS, "overall": {"n": 200, "refused": 3, "tau": 0.75}, "groups": GROUPS}
POINT = {"operator": "attention fa2", "apart": None, "measured_s": 1.0, "half_width_s": 0.01}
KERNELS = {
    "rows": [
        POINT | {"others": {"left out": 1.03}},
        POINT | {"others": {"left out": 0.95}},
        POINT | {"others": {"left out": 1.005}},
        POINT | {"others": {"left out": 9.0}, "apart": "odd"},
        POINT | {"others": {"left out": 9.0}, "operator": "matmul"},
    ]
}
SWEEPS = [
    {
        "apart": None,
        "bands": [
            {"band": "small", "median_ape": {"half": 0.1}},
            {"band": "large", "median_ape": {"half": 0.1}},
        ],
    },
    {"apart": "odd", "bands": [{"band": "small", "median_ape": {"half": 9.0}}]},
]
SOURCES = Sources(RUNS, {}, KERNELS, {"sweeps": SWEEPS}, LEFT_OUT, None, [], Notes())


def test_a_number_and_a_share() -> None:
    assert picked(Pick(at="runs.overall.tau"), SOURCES) == 0.75
    assert picked(Pick(at="runs.overall.refused", over=("runs.overall.n",)), SOURCES) == pytest.approx(0.015)
    assert picked(Pick(at="runs.overall.nothing"), SOURCES) is None


def test_of_a_list() -> None:
    """By size, -4 % is more than 2 %; what is missing does not count; nobody is a count too."""
    assert picked(Pick(at="runs.groups", field="error"), SOURCES) == -0.04
    assert picked(Pick(at="runs.groups", where={"skilled": "False"}, statistic="count"), SOURCES) == 1
    assert picked(Pick(at="runs.groups", where={"family": ("t*", "x")}, field="error"), SOURCES) == 0.02
    assert picked(Pick(at="runs.groups", where={"family": "x"}, statistic="count"), SOURCES) == 0
    assert picked(Pick(at="runs.groups", where={"family": "x"}, field="error"), SOURCES) is None


def test_points_are_one_lot_and_rounding_is_free() -> None:
    """Errors beyond the half width of 1 %: 2 %, 4 %, 0."""
    assert point_error(Points(operator="attention*", other="left out"), SOURCES) == pytest.approx(0.02)
    assert point_error(Points(operator="norm", other="left out"), SOURCES) is None


def test_bands_by_their_own_limits() -> None:
    assert bands_inside(Bands(other="half", limits={"small": 0.15, "large": 0.08}), SOURCES) == (1, 2)


def test_runs_of_a_selection() -> None:
    """Three complete runs in bf16 without experts: 10, 3 and 5 %; two of them were left out: 20 and 10 %."""
    found = step_errors(Runs(families=("dgxc",), precisions=("bf16",)), SOURCES)
    assert found.rows == 3
    assert found.errors["in_sample"] == pytest.approx((0.05, 0.06))
    assert found.errors["model_out"] == pytest.approx((0.15, 0.15))
    assert found.errors["family_out"] == pytest.approx((0.4, 0.4))


def test_lines_say_what_is_met() -> None:
    bars = Bars.model_validate(
        {
            "figures": [
                {"what": "order", "pick": {"at": "runs.overall.tau"}, "at_least": 0.8, "unit": "number"},
                {"what": "largest", "pick": {"at": "runs.groups", "field": "error"}, "at_most": 0.04},
                {"what": "unknown", "pick": {"at": "ablation.seconds"}, "at_most": 1, "note": "not asked"},
            ],
            "runs": [
                {
                    "what": "dgxc",
                    "runs": {"families": ["dgxc"], "precisions": ["bf16"]},
                    "bars": {"in_sample": [0.05, 0.05], "model_out": [0.15, 0.16]},
                }
            ],
            "bands": [
                {"what": "sweeps", "bands": {"other": "half", "limits": {"small": 0.15, "large": 0.1}}}
            ],
        }
    )
    assert bar_lines(bars, SOURCES) == [
        ("order", "0.75", "≥ 0.80", False),
        ("largest", "-4.0 %", "≤ 4.0 %", True),
        ("unknown (not asked)", "-", "≤ 100.0 %", None),
        ("sweeps", "2 of 2", "all; small ≤ 15 %, large ≤ 10 %", True),
        ("step time, dgxc (3 runs), in sample", "5.0 / 6.0 %", "≤ 5.0 / 5.0 %", False),
        ("step time, dgxc (3 runs), model left out", "15.0 / 15.0 %", "≤ 15.0 / 16.0 %", True),
    ]
    section = bars_section(SOURCES, bars)
    assert section.startswith("3 of 5 bars are met.")
    assert "| order | 0.75 | ≥ 0.80 | **no** |" in section


def test_committed_bars_are_sound() -> None:
    """Every figure bar has one source and a limit, every path names an answer."""
    bars = load_bars()
    for bar in bars.figures:
        assert (bar.pick is None) != (bar.points is None), bar.what
        assert bar.at_most is not None or bar.at_least is not None, bar.what
        if bar.pick is not None:
            picked(bar.pick, SOURCES)
    assert len(bar_lines(bars, SOURCES)) >= 70


def test_an_unknown_answer_is_an_error() -> None:
    with pytest.raises(PlannerError, match="names no answer"):
        picked(Pick(at="walks.overall"), SOURCES)


def test_a_faulty_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bars.yaml"
    file.write_text("figures:\n  - what: x\n    atmost: 3\n")
    with pytest.raises(PlannerError, match="atmost"):
        load_bars(file)
    with pytest.raises(ValidationError):
        Bars.model_validate({"figures": []})
