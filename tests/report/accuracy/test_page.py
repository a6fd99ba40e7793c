"""The page says what the answers say: figures of hand-made answers appear where they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.report.accuracy.fitted import ablation_section, constants_section, spreads_section
from planner.report.accuracy.markdown import pair, percent, table
from planner.report.accuracy.overview import overview
from planner.report.accuracy.page import BEGIN, END, accuracy_page, renewed_readme
from planner.report.accuracy.points import collectives_section, kernels_section
from planner.report.accuracy.runs import order_section, worst_section
from planner.report.accuracy.sources import Notes, Reason, Sources, read_json, read_notes

OVERALL: dict[str, Any] = {
    "n": 1234,
    "refused": 5,
    "macro_median_ape": 0.04,
    "macro_p90_ape": 0.11,
    "dense_macro_median_ape": 0.031,
    "moe_macro_mean_ape": 0.13,
    "regret_mean": 0.02,
    "regret_p95": 0.25,
    "tau": 0.78,
    "coverage": 0.9,
    "interval_width_median": 0.3,
}
MEMORY: dict[str, Any] = {
    "memory_kind": "allocated",
    "family": "simumax",
    "accelerator": "b200-sxm",
    "complete": True,
    "n": 55,
    "votes": 23,
    "mean_ape": 0.004,
    "p90_ape": 0.008,
    "worst": -0.015,
    "bias": 0.003,
}


def opened(rows: int) -> dict[str, Any]:
    """A model whose rows leave the recompute open."""
    errors = {"memory": {"mean_ape": 0.031}, "time": None, "memory_tau": 1.0}
    return {
        "family": "open",
        "model": f"of {rows}",
        "setting": {"recompute": "none"},
        "rows": rows,
        "of": 12,
    } | errors


GROUP: dict[str, Any] = {
    "family": "some",
    "accelerator": "a100",
    "predicted": 9,
    "votes": 8,
    "median_ape": 0.021,
    "mean_ape": 0.022,
    "p90_ape": 0.023,
    "bias": -0.024,
    "kendall_tau": 0.5,
    "regret_mean": None,
    "flat_mfu": {"mean_ape": 0.04},
    "skill": 0.55,
    "skilled": False,
    "coverage": 1.0,
    "interval_width_median": 0.2,
}
EXPERTS: dict[str, Any] = {
    "groups": [],
    "pairs": 7,
    "ordered": 1.0,
    "hard_pairs": [1, 2],
    "hard_pairs_right": 2,
    "hard_pairs_near": 1,
}
FITS = {"oom_predicted_oom": 12, "oom_predicted_fit": 1, "fit_predicted_oom": 53, "fit_predicted_fit": 1769}


def row(name: str, error: float | None, scored: str = "complete") -> dict[str, Any]:
    shares = {"compute": 0.7, "host": 0.1, "communication": 0.15, "bubble": 0.05}
    predicted = None if error is None else 1 + error
    figures = {"measured_s": 1.0, "predicted_s": predicted, "error": error, "shares": shares}
    return {
        "family": "some",
        "accelerator": "a100",
        "precision": "bf16",
        "experts": False,
        "id": name,
        "scored": scored,
        **figures,
    }


RUNS: dict[str, Any] = {
    "overall": OVERALL,
    "groups": [GROUP],
    "rows": [row("slow", -0.5), row("fast", 0.6), row("none", None), row("odd", 9.0, "doubtful")],
    "sets": [
        {"family": "f", "layouts": 3, "tau": 0.3, "regret": 0.2, "favourite": "fast", "best": "slow"},
        {"family": "f", "layouts": 2, "tau": 1.0, "regret": 0.0, "favourite": "a", "best": "a"},
    ],
    "memory": {"groups": [MEMORY], "fit_table": FITS},
    "experts": EXPERTS,
    "assignments": [opened(12), opened(3)],
}
ERRORS = {"median_ape": 0.05, "mean_ape": 0.06}
INSIDE = {"inside": 0.8, "width": 0.33}
LEFT_OUT: dict[str, Any] = {
    "dense_macro": {"model_out": 0.052, "family_out": 0.07},
    "experts_macro_mean": {"model_out": 0.19, "family_out": None},
    "groups": [
        {
            "family": "some",
            "accelerator": "a100",
            "rows": 9,
            **dict.fromkeys(("priors", "in_sample", "model_out"), ERRORS),
            "family_out": None,
        }
    ],
    "left_out": {
        "method": "refit",
        "stiffness": {"model_out": 0.03, "family_out": 0.1},
        "tried": [{"stiffness": 0.03, "model_out": 0.061, "family_out": 0.077}],
        "spreads": {"compute": 0.08},
        "coverage": {"model_out": 0.81, "family_out": 0.76},
        "interval_width_median": 0.31,
        "families": [{"family": "some", "model_out": INSIDE, "family_out": INSIDE}],
    },
}
KERNEL: dict[str, Any] = {
    "family": "gemm",
    "accelerator": "a40",
    "operator": "matmul",
    "band": "m >= 512",
    "predicted": 7,
    "median_ape": 0.03,
    "mean_ape": 0.05,
    "p90_ape": 0.1,
    "apart": None,
    "others": {"priors only": {"median_ape": 0.07, "mean_ape": 0.08}},
}
SWEEP: dict[str, Any] = {
    "family": "dgx",
    "accelerator": "a100",
    "operator": "all_reduce",
    "ranks": 8,
    "nodes": 1,
    "n": 36,
    "apart": None,
    "bands": [{"band": ">= 64 MiB", "median_ape": {"hardware constants": 0.2, "half held out": 0.05}}],
}
CALIBRATION: dict[str, Any] = {
    "data": "runs",
    "accelerators": {
        "a100-sxm": {"families": ["x", "y"], "constants": {"one": {"rows": 3}, "two": {"rows": 5}}}
    },
}
NOTES = Notes(reasons=(Reason(rows=("fa*",), reason="a known reason"),), known=("something is wrong",))
SOURCES = Sources(
    runs=RUNS,
    priors={"overall": {**OVERALL, "dense_macro_median_ape": 0.078}},
    kernels={"groups": [KERNEL, {**KERNEL, "ranks": 2, "operator": "all_reduce"}], "rows": []},
    collectives={"sweeps": [SWEEP, {**SWEEP, "apart": "not stated", "family": "hidden"}]},
    left_out=LEFT_OUT,
    ablation=None,
    calibrations=[CALIBRATION],
    notes=NOTES,
)


def line(text: str, start: str) -> str:
    return next(found for found in text.splitlines() if found.startswith(f"| {start}"))


def test_cells() -> None:
    assert percent(0.1234) == "12.3 %"
    assert percent(-0.1, sign=True, digits=0) == "-10 %"
    assert percent(None) == pair(0.1, None) == "-"
    assert table(("a", "b"), [("1", "2|3")]) == "| a | b |\n| --- | --- |\n| 1 | 2/3 |\n"


def test_overview_joins_priors_in_sample_and_left_out() -> None:
    dense = line(overview(SOURCES), "step time, dense models")
    assert dense.split(" | ")[1:5] == ["7.8 %", "3.1 %", "5.2 %", "7.0 %"]
    inside = line(overview(SOURCES), "inside the 80 % interval")
    assert inside.split(" | ")[1:5] == ["90 %", "90 %", "81 %", "76 %"]


def test_worst_rows_by_log_error_with_reasons() -> None:
    """Half the time is a larger error than 1.6 times it; rows that are scored apart do not stand here."""
    rows = worst_section(SOURCES).splitlines()[2:]
    assert [found.split(" | ")[0] for found in rows] == ["| slow", "| fast"]
    assert "unexplained" in rows[0]
    assert "a known reason" in rows[1]
    assert "compute 70 %, communication 15 %, host 10 %" in rows[0]


def test_costly_sets_are_listed_with_reasons() -> None:
    text = order_section(SOURCES)
    assert text.startswith("2 sets of layouts; in 1 ")
    assert "| f | 3 | 0.30 | 20.0 % | fast | slow | a known reason |" in text


def test_kernels_without_collectives_and_sweeps_without_doubtful_ones() -> None:
    assert len(kernels_section(SOURCES.kernels).splitlines()) == 3
    assert "3.0 / 5.0 %" in kernels_section(SOURCES.kernels)
    assert "7.0 / 8.0 %" in kernels_section(SOURCES.kernels)
    text = collectives_section(SOURCES.collectives)
    assert "20 / 5 %" in text
    assert "hidden" not in text


def test_constants_spreads_and_coverage() -> None:
    assert "| runs | accelerator | a100-sxm | 2 | 5 | x, y |" in constants_section([CALIBRATION])
    text = spreads_section(LEFT_OUT)
    assert "compute 0.08" in text
    assert "| some | 80 % | 33 % | 80 % | 33 % |" in text


def test_ablation_names_what_is_not_visible() -> None:
    errors = {"kept": 0.05, "refit": 0.05, "left_out": 0.06}
    place = {"family": "f", "accelerator": "x"}
    whole = {"effect": None, "macro": errors, "groups": [{**place, **errors}], "visible": True}
    worse = {"kept": 0.09, "refit": 0.06, "left_out": 0.08}
    bubble = {"effect": "bubble", "macro": worse, "groups": [{**place, **worse}], "visible": True}
    hops = {"effect": "hops", "macro": errors, "groups": [{**place, **errors}], "visible": False}
    text = ablation_section({"effects": [whole, bubble, hops]})
    assert "| bubble | +4.0 % | +1.0 % | +2.0 % | f x +2.0 |" in text
    assert "Not visibly worse without: hops." in text


def test_the_page_holds_every_section() -> None:
    page = accuracy_page(SOURCES, {"runs": "runs.svg"})
    for words in ("1,234 complete", "something is wrong", "![", "| some | a100 | 9 | 8 |", "0.55 (missed)"):
        assert words in page
    assert "| open | of 12 | 12 of 12 | - | 3.1 % | 1.00 | recompute none |" in page
    assert "| of 3 |" not in page
    without = accuracy_page(replace(SOURCES, left_out=None, notes=Notes()), {})
    assert "Left out of the fit" not in without
    assert "![" not in without


def test_readme_changes_between_its_marks_only() -> None:
    text = renewed_readme(f"before\n{BEGIN}\nold\n{END}\nafter\n", SOURCES, "README.md")
    assert text.startswith(f"before\n{BEGIN}\n|")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "worst -1.5 %" in text
    with pytest.raises(PlannerError, match="has no lines"):
        renewed_readme("no marks", SOURCES, "README.md")


def test_files_of_answers_and_notes(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{\n oops", encoding="utf-8")
    with pytest.raises(PlannerError, match="is no JSON") as caught:
        read_json(broken)
    assert caught.value.line == 2
    with pytest.raises(PlannerError, match="cannot be read"):
        read_json(tmp_path / "missing.json")
    assert read_notes(tmp_path / "missing.yaml") == Notes()
    notes = tmp_path / "notes.yaml"
    notes.write_text("reasons:\n  - rows: [a*]\n    cause: x\n", encoding="utf-8")
    with pytest.raises(PlannerError, match="notes"):
        read_notes(notes)
