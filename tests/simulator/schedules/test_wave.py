"""List scheduling, and Hanayo's wave placement ordered by it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlannerError
from planner.simulator.pipeline import PassSeconds, PipelineRun, run_pipeline
from planner.simulator.schedules.list_scheduler import (
    StagePasses,
    backward_first,
    forward_first,
    list_schedule,
)
from planner.simulator.schedules.schedule import Kind, Schedule
from planner.simulator.schedules.tokens import rows, token
from planner.simulator.schedules.wave import snake, wave
from tests.simulator.legality import check_legal


def deepest_first(kind: Kind, stage: int, micro_batch: int) -> tuple[float, ...]:
    """Backward before forward, and in both the deeper stage first."""
    return (kind == Kind.F, -stage, micro_batch)


def run(schedule: Schedule) -> PipelineRun:
    """Chunk passes of a micro-batch whose rank needs 1 s forward and 2 s backward."""
    chunks = schedule.stages // schedule.ranks
    return run_pipeline(schedule, PassSeconds(1.0 / chunks, 2.0 / chunks, 0.0, 0.0))


def bubble_share(schedule: Schedule) -> float:
    result = run(schedule)
    return float(result.global_bubble_s / result.makespan_s)


def test_the_snake() -> None:
    assert snake(3, 4).tolist() == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(
    ("ranks", "waves", "share"),
    [(4, 1, 0.333), (4, 2, 0.250), (4, 4, 0.200), (8, 1, 0.368), (8, 2, 0.294), (8, 4, 0.250)],
)
def test_published_rule_on_the_wave_placement(ranks: int, waves: int, share: float) -> None:
    """Backward first, deeper chunk first, b = 2f, m = p: shares measured with an independent event loop."""
    placement = snake(ranks, 2 * waves)
    passes = StagePasses([1.0] * len(placement), [2.0] * len(placement))
    schedule = list_schedule("wave", placement, ranks, passes, priority=deepest_first)
    check_legal(schedule)
    assert bubble_share(schedule) == pytest.approx(share, abs=5e-4)
    assert run(schedule).peak_in_flight.max() <= ranks


@pytest.mark.parametrize(
    ("ranks", "waves", "share"),
    [(4, 1, 0.333), (4, 2, 0.250), (4, 4, 0.200), (8, 1, 0.368), (8, 2, 0.294), (8, 4, 0.250)],
)
def test_waves_are_no_longer_than_that_rule(ranks: int, waves: int, share: float) -> None:
    schedule = wave(ranks, 2 * waves, ranks)
    assert bubble_share(schedule) <= share + 5e-4
    assert run(schedule).peak_in_flight.max() <= ranks


def test_more_waves_shrink_the_bubble_also_with_many_micro_batches() -> None:
    shares = [bubble_share(wave(4, 2 * waves, 16)) for waves in (1, 2)]
    plain = 3 * 3.0 / (16 * 3.0 + 3 * 3.0)  # 1F1B: (p - 1)(f + b) over the makespan
    assert shares[1] < shares[0] < plain


def test_greedy_order_by_hand() -> None:
    """Two ranks in a V (stages 0, 3 and 1, 2), f = 1, b = 2, two micro-batches, memory for one (2 passes).

    Micro-batch 0 reaches stage 3 at 3 s and is back from it at 6 s, which frees room for 0F1 (6-7 s) while rank 1 runs 2B0
    and 1B0 until 10 s, before 1F1, as backward goes first; 0B0 follows at 10 s, then 3F1 (12 s) and all of 1's way back.
    """
    passes = StagePasses([1.0] * 4, [2.0] * 4)
    schedule = list_schedule("v", snake(2, 2), 2, passes, cap=2)
    cells = [" ".join(token(row) for row in rows(actions)) for actions in schedule.actions]
    assert cells == ["0F0 3F0 3B0 0F1 0B0 3F1 3B1 0B1", "1F0 2F0 2B0 1B0 1F1 2F1 2B1 1B1"]


@settings(max_examples=80)
@given(
    ranks=st.integers(1, 5),
    waves=st.integers(1, 2),
    micro_batches=st.integers(1, 9),
    slack=st.integers(0, 12),
    split=st.booleans(),
    forward=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_cap_that_holds_one_micro_batch_is_enough(
    ranks: int, waves: int, micro_batches: int, slack: int, split: bool, forward: bool, seed: int
) -> None:
    """Legal, never above the cap, for any pass times; a random placement too."""
    generator = np.random.default_rng(seed)
    placement = generator.permutation(snake(ranks, 2 * waves))
    times = generator.choice([0.5, 1.0, 1.7, 3.0], size=(3, len(placement)))
    passes = StagePasses(times[0].tolist(), times[1].tolist(), times[2].tolist() if split else None)
    cap = 2 * waves + slack
    priority = forward_first if forward else backward_first
    schedule = list_schedule("any", placement, micro_batches, passes, cap=cap, priority=priority)
    check_legal(schedule)
    release = Kind.W if split else Kind.B
    for actions in schedule.actions:
        held = np.cumsum((actions.kind == Kind.F).astype(int) - (actions.kind == release))
        assert held.max() <= cap


def test_what_is_refused() -> None:
    with pytest.raises(PlannerError, match="51,200,000 passes; accepted: at most 5,000,000"):
        wave(64, 4, 100_000)
    with pytest.raises(PlannerError, match="even"):
        wave(4, 3, 8)
    with pytest.raises(PlannerError, match="the cap is 1"):
        list_schedule("v", snake(2, 2), 2, StagePasses([1.0] * 4, [2.0] * 4), cap=1)
