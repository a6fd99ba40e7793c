"""Scores of models with experts, on outcomes whose times a test chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from planner.validation.runs.experts import ExpertScore, expert_score
from planner.validation.runs.hard_pairs import HardPair, load_hard_pairs, pair_scores
from planner.validation.runs.outcome import Outcome
from tests.validation.runs.samples import predicted, with_error

FIRST, SECOND = sorted(name for name in predicted() if "deepseekv2" in name)[:2]


def _pair_of_runs(first: float, second: float) -> list[Outcome]:
    """Two layouts of one model that measured so many seconds."""
    return [
        replace(predicted()[FIRST], measured_s=first),
        replace(predicted()[SECOND], measured_s=second),
    ]


def _score(outcomes: list[Outcome], pairs: tuple[HardPair, ...] = ()) -> ExpertScore:
    score = expert_score(outcomes, pairs)
    assert score is not None
    return score


def test_an_offset_of_the_whole_group_is_no_error_within_it() -> None:
    score = _score([with_error(predicted()[name], 0.25) for name in (FIRST, SECOND)])
    (group,) = score.groups
    assert (group.n, group.complete, group.family) == (2, True, "simumax")
    assert score.mean_ape == score.worst == pytest.approx(0.25)
    assert group.offset == pytest.approx(0.25)
    assert score.within == pytest.approx(0.0, abs=1e-12)


def test_errors_within_a_group_are_taken_around_its_geometric_mean() -> None:
    """Factors 1.44 and 1.00 have the geometric mean 1.2: +20 % and -1/6."""
    score = _score([with_error(predicted()[FIRST], 0.44), with_error(predicted()[SECOND], 0.0)])
    assert score.within == pytest.approx((0.2 + 1 / 6) / 2)
    assert score.mean_ape == pytest.approx(0.22)


@pytest.mark.parametrize(("ratio", "pairs", "ordered"), [(2.0, 1, 1), (0.5, 1, 0), (1.04, 0, 0)])
def test_order_counts_where_times_differ_by_more_than_the_gap(ratio: float, pairs: int, ordered: int) -> None:
    faster, slower = sorted((FIRST, SECOND), key=lambda name: predicted()[name].predicted_s or 0.0)
    outcomes = [
        replace(predicted()[faster], measured_s=1.0),
        replace(predicted()[slower], measured_s=ratio),
    ]
    (group,) = _score(outcomes).groups
    assert (group.pairs, group.ordered) == (pairs, ordered)


def test_repeats_of_a_run_are_no_pair() -> None:
    again = replace(predicted()[FIRST], measured_s=9.0)
    (group,) = _score([*_pair_of_runs(1.0, 2.0), again]).groups
    assert (group.n, group.pairs) == (3, 1)


def test_models_without_experts_have_no_score() -> None:
    assert expert_score([o for o in predicted().values() if not o.experts], ()) is None


def _one_pair(first: Outcome, second: Outcome) -> tuple[float, bool, bool]:
    pair = HardPair(before=first.row.id, after=second.row.id, changes="degrees", tests="the score")
    (scored,) = pair_scores([first, second], [pair])
    return scored.error, scored.right, scored.near


def test_a_pair_compares_ratios() -> None:
    """Both runs 30 % too long: the ratio is exact. One 30 % too long: the ratio is off by that."""
    first, second = (predicted()[name] for name in (FIRST, SECOND))
    exact = _one_pair(with_error(first, 0.3), with_error(second, 0.3))
    assert exact == (pytest.approx(0.0, abs=1e-12), True, True)
    off = _one_pair(with_error(first, 0.0), with_error(second, 0.3))
    assert off[0] == pytest.approx(0.3)
    assert not off[2]


def test_a_change_that_costs_nothing_must_be_predicted_to_cost_nothing() -> None:
    first, second = (predicted()[name] for name in (FIRST, SECOND))
    equal = replace(second, measured_s=(first.measured_s or 0.0) * 1.01)
    assert not _one_pair(first, equal)[1]


def test_runs_with_a_utilisation_only_are_compared_by_it() -> None:
    """Twice the utilisation is half of the time."""
    first, second = (predicted()[name] for name in (FIRST, SECOND))
    timed = (replace(first, measured_s=None), replace(second, measured_s=None))
    rows = [
        replace(o, row=o.row.model_copy(update={"measured": o.row.measured.model_copy(update={"mfu": mfu})}))
        for o, mfu in zip(timed, (0.2, 0.4), strict=True)
    ]
    pair = HardPair(before=FIRST, after=SECOND, changes="degrees", tests="the score")
    (scored,) = pair_scores(rows, [pair])
    assert scored.measured == pytest.approx(0.5)


def test_the_list_names_each_pair_once() -> None:
    pairs = load_hard_pairs()
    assert len({(pair.before, pair.after) for pair in pairs}) == len(pairs) == 11
