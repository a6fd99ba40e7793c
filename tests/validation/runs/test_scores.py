"""Groups, votes, sets, baseline and macro figures, on outcomes whose errors a test chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.validation.runs.groups import groups_of, macro
from planner.validation.runs.outcome import Outcome, repeated
from planner.validation.runs.score import score
from planner.validation.runs.sets import LayoutSet, layout_sets, one_vote_each
from tests.validation.runs.samples import family, predicted, with_error

TABLE5 = sorted(name for name in predicted() if name.startswith("korthikanti22"))


def test_errors_of_a_group_by_hand() -> None:
    errors = (0.1, -0.2, 0.3, 0.4)
    outcomes = [with_error(predicted()[name], e) for name, e in zip(TABLE5, errors, strict=False)]
    (group,) = groups_of(outcomes)
    assert group.key == ("korthikanti22", "a100-sxm-80gb")
    assert (group.n, group.predicted, group.votes) == (4, 4, 4)
    assert group.errors is not None
    assert group.errors.median_ape == pytest.approx(0.25)
    assert group.errors.mean_ape == pytest.approx(0.25)
    assert group.errors.bias == pytest.approx(0.2)


def test_composed_rows_have_one_vote_per_cell() -> None:
    """Three cells (hidden, tp, micro-batch); within a cell the median counts, however many rows it has."""
    rows = family("vtrain-single")
    cells = sorted({outcome.cell for outcome in rows}, key=str)
    assert len(cells) == 3 < len(rows)
    errors = dict(zip(cells, (0.1, 0.2, 0.6), strict=True))
    (group,) = groups_of([with_error(outcome, errors[outcome.cell]) for outcome in rows])
    assert (group.n, group.votes) == (len(rows), 3)
    assert group.errors is not None
    assert group.errors.mean_ape == pytest.approx(0.3)


def test_one_utilisation_explains_rows_of_one_utilisation() -> None:
    outcomes = [
        replace(predicted()[name], measured_s=2.5 * (predicted()[name].flops_s or 0)) for name in TABLE5
    ]
    (group,) = groups_of(outcomes)
    assert group.flat_mfu is not None
    assert group.flat_mfu.mean_ape == pytest.approx(0.0, abs=1e-12)
    assert group.skill is None


def test_skill_is_the_error_over_that_of_a_flat_utilisation() -> None:
    """Rows at 50 %, 50 % and 40 % of peak: one constant, 50 %, misses the last by 20 %; the model misses each by 10 %."""
    shares = (0.5, 0.5, 0.4)
    outcomes = [
        replace(with_error(o, 0.1), flops_s=share * (with_error(o, 0.1).measured_s or 0.0))
        for o, share in zip((predicted()[name] for name in TABLE5), shares, strict=False)
    ]
    (group,) = groups_of(outcomes)
    assert group.flat_mfu is not None
    assert group.flat_mfu.mean_ape == pytest.approx(0.2 / 3)
    assert group.skill == pytest.approx(0.1 * 3 / 0.2)
    assert group.skill_bar == 0.5  # of a constant that is 6.7 % off
    assert group.skilled is False


def test_full_recompute_is_a_third_more_work() -> None:
    full = predicted()["korthikanti22-tab5-22b-full"].readings[0].variant
    assert repeated(full.layout, full.job) == pytest.approx(4 / 3)
    half = replace(full.layout, recompute_layers=24)
    assert repeated(half, full.job) == pytest.approx(7 / 6)


def _pair() -> list[Outcome]:
    return [predicted()[f"korthikanti22-tab5-22b-{mode}"] for mode in ("full", "sp-selective")]


def test_regret_is_what_our_favourite_costs_more() -> None:
    """We prefer selective recompute; if it had measured 1.2 s against 1.0 s, the choice would cost 20 %."""
    full, selective = _pair()
    assert (selective.predicted_s or 0) < (full.predicted_s or 0)
    (right,) = layout_sets([replace(full, measured_s=1.2), replace(selective, measured_s=1.0)])
    assert (right.regret, right.tau) == (0.0, 1.0)
    (wrong,) = layout_sets([replace(full, measured_s=1.0), replace(selective, measured_s=1.2)])
    assert wrong.regret == pytest.approx(0.2)
    assert wrong.tau == -1.0
    assert (wrong.favourite, wrong.best) == (selective.row.id, full.row.id)


def test_sets_share_everything_but_the_layout() -> None:
    full, selective = _pair()
    assert layout_sets([full, full]) == []
    other = replace(selective, row=selective.row.model_copy(update={"release": "24.05"}))
    assert layout_sets([full, other]) == []
    larger = selective.row.layout.model_copy(update={"global_batch": 8})
    assert (
        layout_sets([full, replace(selective, row=selective.row.model_copy(update={"layout": larger}))]) == []
    )
    assert layout_sets([full, replace(selective, heading="doubtful")]) == []


def test_sets_of_the_same_measured_pieces_have_one_vote() -> None:
    """Three depths composed of the same two cells, another pair of cells, and two sets of measurements of their own."""

    def found(regret: float, *cells: str) -> LayoutSet:
        return LayoutSet("vtrain-single", "a100-sxm-80gb", (), 2, None, regret, "", "", cells)

    sets = one_vote_each(
        [
            found(0.3, "a", "b"),
            found(0.0, "a", "b"),
            found(0.1, "a", "b"),
            found(0.2, "a"),
            found(0.4),
            found(0.4),
        ]
    )
    assert [(item.regret, item.copies) for item in sets] == [(0.1, 3), (0.2, 1), (0.4, 1), (0.4, 1)]


def test_sets_name_the_cells_of_composed_rows() -> None:
    full, selective = _pair()
    (composed,) = layout_sets([replace(full, cell=(1024, 2)), replace(selective, cell=(1024, 1))])
    assert composed.cells == ("(1024, 1)", "(1024, 2)")
    (measured,) = layout_sets([full, selective])
    assert measured.cells == ()


def test_a_lost_set_names_what_is_known_about_its_rows() -> None:
    full, selective = _pair()
    odd = replace(full, measured_s=1.0, order_note="one early iteration of five")
    (lost,) = layout_sets([odd, replace(selective, measured_s=1.2)])
    assert lost.reason == "one early iteration of five"
    (won,) = layout_sets([replace(odd, measured_s=1.2), replace(selective, measured_s=1.0)])
    assert won.reason is None


def test_macro_gives_each_large_enough_group_one_vote() -> None:
    many = [with_error(outcome, 0.1) for outcome in family("vtrain-single")]
    three = [with_error(predicted()[name], 0.3) for name in TABLE5[:3]]
    two = [with_error(outcome, 0.9) for outcome in family("jz")[:2]]
    groups = groups_of([*many, *three, *two])
    assert macro(groups, lambda errors: errors.median_ape, 3) == pytest.approx(0.2)
    assert macro(groups, lambda errors: errors.median_ape, 100) is None


def test_coverage_counts_rows_inside_their_interval() -> None:
    outcomes = [
        with_error(predicted()[name], e) for name, e in zip(TABLE5, (0.0, 0.01, 5.0, -0.9), strict=False)
    ]
    (group,) = groups_of(outcomes)
    assert group.coverage == pytest.approx(0.5)


def test_headings_are_apart() -> None:
    found = score(list(predicted().values()))
    doubtful = {outcome.row.id for outcome in found.outcomes if outcome.heading == "doubtful"}
    assert all(outcome.row.complete for outcome in found.outcomes if outcome.heading != "incomplete")
    assert "ascend-modellink-mistral-7b-32k" in doubtful
    assert any(outcome.row.quirk for outcome in found.outcomes if outcome.row.id in doubtful)
    assert {group.key[0] for group in found.doubtful} >= {"ascend", "jz", "mbridge"}
    assert found.overall.n == sum(outcome.row.complete for outcome in found.outcomes)
    assert found.overall.refused == 0
    assert len(found.worst(3)) == 3
