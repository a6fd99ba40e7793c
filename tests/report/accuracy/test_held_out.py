"""Tables of runs that nothing was fitted to: figures of a hand-made answer, between the marks of a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlannerError
from planner.report.accuracy.held_out import BEGIN, END, held_out_section, read_page, renewed_page

GROUP: dict[str, Any] = {
    "family": "somewhere",
    "accelerator": "h100-sxm-80gb",
    "n": 3,
    "predicted": 2,
    "median_ape": 0.05,
    "mean_ape": 0.06,
    "p90_ape": 0.07,
    "bias": -0.05,
    "coverage": 0.5,
    "interval_width_median": 0.25,
}
ROW: dict[str, Any] = {
    "id": "run-1",
    "scored": "complete",
    "error": -0.25,
    "measured_s": 4.0,
    "predicted_s": 3.0,
    "shares": {"compute": 0.9, "host": 0.1},
}
ANSWER: dict[str, Any] = {
    "overall": {"n": 3, "macro_median_ape": 0.05, "coverage": 0.5, "interval_width_median": 0.25},
    "groups": [GROUP],
    "incomplete_groups": [GROUP | {"family": "elsewhere", "predicted": 0, "median_ape": None}],
    "rows": [ROW, ROW | {"id": "run-2", "error": None}],
    "refused": [{"reason": "model.seq_len is not given", "rows": 1}],
}


def test_figures_stand_where_they_belong() -> None:
    text = held_out_section(ANSWER)
    figures = "3 | 2 | 5.0 % | 6.0 % | 7.0 % | -5.0 % | 50 % | 25 %"
    assert f"| somewhere | h100-sxm-80gb | {figures} |" in text
    assert "| elsewhere (incomplete) | h100-sxm-80gb | 3 | 0 | - |" in text
    assert "| model.seq_len is not given | 1 |" in text
    assert "| run-1 | 4 s | 3 s | -25 % | compute 90 %, host 10 % |" in text
    assert "run-2" not in text


def test_what_surrounds_the_marks_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    text = renewed_page(read_page(str(page)), ANSWER, str(page))
    assert text.startswith(f"before\n{BEGIN}\n2 rows, 3 of them complete.")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(PlannerError, match="has no lines"):
        read_page(str(page))
    with pytest.raises(PlannerError, match="cannot be read"):
        read_page(str(tmp_path / "none.md"))
