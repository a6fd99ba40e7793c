"""Words and columns of a refined ranking."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from planner.report.plan import headline
from planner.report.ranking import certificate_line, ranking_table
from planner.report.refinement import claim_line, explanation_note, moved_words, refinement_lines
from planner.solvers.refinement import RefinedPlan, Refinement
from tests.report.samples import prediction


def refined(*ranks: int, simulated: tuple[float | None, ...], **changes: Any) -> Refinement:
    """Plans of 10 s by the closed form, in the order of their closed-form ranks."""
    plans = tuple(
        RefinedPlan(
            replace(prediction(), rank=place, simulated_step_time_s=seconds),
            rank,
            None if seconds is None else place,
            seconds,
        )
        for place, (rank, seconds) in enumerate(zip(ranks, simulated, strict=True), 1)
    )
    made = Refinement(plans, len(plans), 0.83, 0.021, 1.25)
    return replace(made, **changes)


def test_a_new_best() -> None:
    lines = refinement_lines(refined(3, 1, 2, simulated=(9.9, 10.1, 10.4)))
    assert lines == [
        "3 layouts simulated in 1.25 s: -1.0 % to +4.0 % against the closed form",
        "simulation changed the order: best is now #3 of the closed form (2.1 % faster than the former best), "
        "Kendall tau 0.83",
    ]


def test_the_former_best_was_refused() -> None:
    found = refined(2, 1, simulated=(9.9, None), gain=None, kendall_tau=None)
    found = replace(found, plans=(found.plans[0], replace(found.plans[1], reason="too large")))
    assert refinement_lines(found) == [
        "1 layout simulated in 1.25 s: -1.0 % to -1.0 % against the closed form",
        "simulation changed the order: best is now #2 of the closed form",
        "1 layout not simulated and ranked behind: too large",
    ]


def test_the_best_stays() -> None:
    assert (
        "changed the order but kept the best plan"
        in refinement_lines(refined(1, 3, 2, simulated=(9.0, 9.1, 9.2), gain=0.0))[1]
    )
    assert "kept the order" in refinement_lines(refined(1, 2, simulated=(9.0, 9.1), gain=0.0))[1]


def test_nothing_was_simulated() -> None:
    found = refined(1, simulated=(None,), kendall_tau=None, gain=None)
    assert refinement_lines(found) == ["no layout was simulated"]
    late = replace(found, plans=(replace(found.plans[0], reason="the time limit was reached"),))
    assert refinement_lines(late)[1] == "1 layout not simulated: the time limit was reached"


def test_missed_targets_are_counted() -> None:
    found = refined(1, 2, simulated=(9.0, 9.1))
    missed = tuple(replace(item, meets_target=item.closed_form_rank == 1) for item in found.plans)
    assert "1 of them would miss the target by simulation" in refinement_lines(replace(found, plans=missed))


@pytest.mark.parametrize(
    ("before", "after", "words"), [(3, 1, "↑ 2"), (1, 2, "↓ 1"), (2, 2, "-"), (None, 1, "-"), (1, None, "-")]
)
def test_moved(before: int | None, after: int | None, words: str) -> None:
    assert moved_words(before, after) == words


@pytest.mark.parametrize("width", [80, 160])
def test_columns(width: int) -> None:
    found = refined(2, 1, simulated=(9.87, None))
    plans = [item.plan for item in found.plans]
    console = Console(file=io.StringIO(), width=width)
    console.print(ranking_table(plans, width=width, closed_form_ranks=[2, 1]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for words in ("simulated", "moved", "closed form", "9.87 s", "↑ 1", "10.00 s"):
        assert words in text
    plain = Console(file=io.StringIO(), width=width)
    plain.print(ranking_table([prediction()], width=width))
    assert isinstance(plain.file, io.StringIO)
    assert "simulated" not in plain.file.getvalue()
    assert "simulated 9.87 s" in headline(plans[0])
    assert "simulated" not in headline(prediction())


def test_claims() -> None:
    claim = {"proved": False, "ratio_to_win": 0.973, "smallest_ratio": 0.991}
    assert "below 97.3 % of its closed form (smallest seen: 99.1 %)" in claim_line({"simulation": claim})
    assert "every layout that fits" in claim_line({"simulation": claim | {"proved": True}})
    nothing = {"proved": False, "ratio_to_win": None, "smallest_ratio": None}
    assert claim_line({"simulation": nothing}) == "nothing is proved about simulated time"
    proved = {"exact_for": "closed_form", "best_s": 1.0, "lower_bound_s": 1.0, "gap": 0.0}
    assert certificate_line(proved).startswith("proved optimal")
    assert certificate_line(proved | {"simulation": claim}).startswith("the closed form's first plan: proved")


def test_explanations_are_the_closed_forms() -> None:
    assert explanation_note(refined(1, 2, simulated=(9.0, 9.1))) is None
    assert "ranks this plan #2" in (explanation_note(refined(2, 1, simulated=(9.0, 9.1))) or "")
