"""Published runs that nothing was fitted to: they stay apart from the fit, and every row is predicted or has a reason."""

from __future__ import annotations

import json
import statistics
from functools import cache
from pathlib import Path

from planner.hardware.calibration import default_calibration, load_calibration
from planner.validation.runs.outcome import Outcome, outcomes
from planner.validation.runs.reading import read_rows
from planner.validation.runs.votes import load_votes

ROOT = Path(__file__).parents[3]
UNSEEN = ROOT / "examples" / "unseen-runs"

REASONS = ("feature: precision: int8", "layout.tp is not given")
"""Integer matmuls on TPU, and a row whose source tells no layout."""

LEAST_COVERAGE = 0.35
"""Loose: 80 % intervals of new software, clusters and rounds; docs/held-out.md has the figures."""

FURTHEST = 2.1
"""No complete row is further off than by this factor."""


@cache
def unseen() -> tuple[Outcome, ...]:
    """Every row, predicted."""
    return tuple(outcomes(list(read_rows([UNSEEN])), load_votes()))


def test_nothing_was_fitted_to_them() -> None:
    path = default_calibration()
    assert path is not None
    calibration = load_calibration(path)
    parts = calibration.parts or (calibration,)
    sections = [
        section
        for part in parts
        for kind in (part.accelerators, part.networks, part.frameworks)
        for section in kind.values()
    ]
    fitted = {family for section in sections for family in section.families}
    left_out = json.loads(next(path.glob("*.left-out.json")).read_text())
    fitted |= {group["family"] for group in left_out["groups"]}
    seen = {str(row[0]) for row in left_out["rows"]}
    assert fitted
    assert seen
    assert not fitted & {outcome.family for outcome in unseen()}
    assert not seen & {outcome.row.id for outcome in unseen()}


def test_every_row_names_its_source() -> None:
    assert len(unseen()) >= 100
    assert all(outcome.row.source for outcome in unseen())
    assert len({outcome.accelerator for outcome in unseen()}) >= 10


def test_every_row_is_predicted_or_has_a_reason() -> None:
    for outcome in unseen():
        assert (outcome.predicted_s is None) == (outcome.refused is not None), outcome.row.id
        assert outcome.refused is None or outcome.refused in REASONS, outcome.row.id
        assert outcome.refused is not None or outcome.measured_s is not None, outcome.row.id


def test_most_groups_are_inside_their_intervals() -> None:
    groups: dict[tuple[str, str], list[bool]] = {}
    for outcome in unseen():
        if outcome.heading == "complete" and outcome.interval_s is not None and outcome.measured_s:
            low, high = outcome.interval_s
            inside = groups.setdefault((outcome.family, outcome.accelerator), [])
            inside.append(low <= outcome.measured_s <= high)
    assert statistics.mean(statistics.mean(inside) for inside in groups.values()) > LEAST_COVERAGE


def test_no_complete_row_is_far_off() -> None:
    errors = {o.row.id: 1.0 + o.error for o in unseen() if o.heading == "complete" and o.error is not None}
    far = {name: ratio for name, ratio in errors.items() if max(ratio, 1.0 / ratio) > FURTHEST}
    assert not far


def test_the_page_lists_every_source() -> None:
    page = (ROOT / "docs" / "held-out.md").read_text()
    assert all(f"| {family}" in page for family in {outcome.family for outcome in unseen()})
