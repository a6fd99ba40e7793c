"""V-Half and V-Min: published memory and bubbles (arXiv 2405.15362), and legal orders for any shape and pass times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.pipeline import PassSeconds, PipelineRun, run_pipeline
from planner.simulator.schedules.controllable import v_half, v_min
from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Schedule
from tests.simulator.legality import check_legal, smallest_capacity

RANKS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 24, 32]


def run(schedule: Schedule, f: float = 1.0, i: float = 1.0, w: float = 1.0) -> PipelineRun:
    """Two chunks a rank; f, i, w of the whole rank."""
    return run_pipeline(schedule, PassSeconds(f / 2, 0.0, i / 2, w / 2))


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_v_half_keeps_half_of_1f1b_at_half_its_bubble(ranks: int, rounds: int) -> None:
    """1F1B: p micro-batches on rank 0, bubble (p - 1)(f + b) = 3(p - 1) for f = i = w = 1."""
    result = run(v_half(ranks, rounds * ranks))
    half = 3.0 * (ranks - 1) / 2.0
    odd = ranks % 2
    assert result.global_bubble_s == pytest.approx(half - (0.5 * odd if ranks > 1 else 0.0), abs=1e-9)
    peak = (ranks + 1) / 2 if odd else ranks / 2 + 1
    assert result.peak_in_flight.max() == pytest.approx(peak)
    assert result.peak_in_flight.min() >= peak - 0.5


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_v_min_keeps_a_third_of_1f1b_at_two_thirds_of_its_bubble(ranks: int, rounds: int) -> None:
    result = run(v_min(ranks, rounds * ranks))
    two_thirds = 2.0 * (ranks - 1)
    offset = 0.5 if ranks % 3 == 0 else (-0.5 if ranks > 1 else 0.0)
    assert result.global_bubble_s == pytest.approx(two_thirds + offset, abs=1e-9)
    peak = {0: ranks / 3 + 1, 1: (ranks + 2) / 3, 2: (ranks + 4) / 3}[ranks % 3]
    assert result.peak_in_flight.max() == pytest.approx(peak)


@settings(max_examples=80)
@given(
    ranks=st.integers(1, 9),
    micro_batches=st.integers(1, 20),
    least=st.booleans(),
    seed=st.none() | st.integers(0, 2**16),
)
def test_any_shape_and_any_pass_times_are_legal(
    ranks: int, micro_batches: int, least: bool, seed: int | None
) -> None:
    """And never need more memory than with equal times."""
    generate = v_min if least else v_half
    plain = generate(ranks, micro_batches)
    passes = None
    if seed is not None:
        times = np.random.default_rng(seed).uniform(0.1, 3.0, size=(3, 2 * ranks))
        passes = StagePasses(*times.tolist())
    schedule = generate(ranks, micro_batches, passes)
    check_legal(schedule)
    assert smallest_capacity(schedule) <= 3
    assert run(schedule).peak_in_flight.max() <= run(plain).peak_in_flight.max()


def test_too_many_passes_are_refused_at_once() -> None:
    with pytest.raises(PlannerError, match="at most 5,000,000"):
        v_min(64, 100_000)


@pytest.mark.parametrize(("f", "i", "w"), [(1.2, 1.0, 1.0), (1.0, 0.8, 1.2), (1.0, 1.2, 0.8)])
def test_given_pass_times_never_make_it_longer(f: float, i: float, w: float) -> None:
    for generate in (v_half, v_min):
        passes = StagePasses([f / 2] * 16, [i / 2] * 16, [w / 2] * 16)
        fitted = run(generate(8, 32, passes), f, i, w)
        blind = run(generate(8, 32), f, i, w)
        assert fitted.makespan_s <= blind.makespan_s + 1e-9


def test_unequal_passes_cost_v_min_time_with_every_micro_batch() -> None:
    """The tight block leaves no slack (the README of sail-sg/zero-bubble writes 2B/3 + O(n)); V-Half has some."""
    grows = {}
    shares = {}
    for generate in (v_half, v_min):
        bubbles = [run(generate(8, m), 1.0, 1.2, 0.8).global_bubble_s for m in (32, 64)]
        grows[generate.__name__] = bubbles[1] - bubbles[0]
        shares[generate.__name__] = [round(float(bubble) / (7 * 3.0), 2) for bubble in bubbles]
    assert grows["v_min"] > 10.0
    assert grows["v_half"] == pytest.approx(0.0, abs=1.0)
    assert shares == {"v_half": [0.64, 0.64], "v_min": [1.60, 2.51]}  # docs/schedules.md
