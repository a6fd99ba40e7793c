"""Seconds of placements against formulas written a second time, and 1F1B's messages against the event simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.simulator.engine.fixed import run_fixed
from planner.simulator.pipeline import PassSeconds, pipeline_program
from planner.simulator.program import What
from planner.simulator.schedules.fused import one_f_one_b
from planner.solvers.placement.kernel import recurring_wait
from planner.solvers.placement.score import scorer
from planner.solvers.placement.traffic import Group, Hops, Term, Traffic
from tests.solvers.placement.problems import grid, matrix, plain_cost, plain_wait


def event_loss(micro_batches: int, forward: np.ndarray, backward: np.ndarray) -> float:
    """Seconds that messages of these lengths add to 1F1B with passes of 1 and 2 seconds, by the event simulator."""
    ranks = len(forward) + 1
    passes = PassSeconds(1.0, 2.0, 1.0, 1.0)
    program = pipeline_program(one_f_one_b(ranks, micro_batches), passes, hop_s=1.0)
    tasks = program.tasks
    hops = np.flatnonzero(tasks.what == What.HOP)
    sender = program.before[program.before_start[hops]]
    onward = tasks.what[sender] == What.FORWARD
    seconds = tasks.seconds.copy()
    seconds[hops] = np.where(
        onward,
        forward[np.minimum(tasks.stage[sender], ranks - 2)],
        backward[np.maximum(tasks.stage[sender] - 1, 0)],
    )
    slow = run_fixed(replace(program, tasks=replace(tasks, seconds=seconds))).makespan_s
    return slow - 3.0 * (micro_batches + ranks - 1)


# Messages lost per second of each, measured in event simulations of 1F1B: p, m, how many.
COUNTED = [(4, 16, 28), (4, 64, 100), (8, 32, 68), (8, 64, 124)]


@pytest.mark.parametrize(("ranks", "micro_batches", "count"), COUNTED)
def test_equal_messages_recur_as_often_as_published(ranks: int, micro_batches: int, count: int) -> None:
    """2 (p - 1) m / p + 2 (p - 2)."""
    assert count == 2 * (ranks - 1) * micro_batches // ranks + 2 * (ranks - 2)
    assert recurring_wait(np.full(ranks - 1, 2 * 0.01), micro_batches) == pytest.approx(0.01 * count)
    delays = np.full(ranks - 1, 0.01)
    assert event_loss(micro_batches, delays, delays) == pytest.approx(0.01 * count)


@given(ranks=st.integers(2, 10), micro_batches=st.integers(1, 40))
def test_equal_messages_recur_as_in_events(ranks: int, micro_batches: int) -> None:
    delays = np.full(ranks - 1, 0.02)
    expected = event_loss(micro_batches, delays, delays)
    assert recurring_wait(2 * delays, micro_batches) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("place", range(7))
def test_one_slow_hop_costs_nearly_once_per_micro_batch_wherever_it_is(place: int) -> None:
    """Summing the hops, as published, would count it 2 (m / p) + 2 times, here 18 times."""
    delays = np.zeros(7)
    delays[place] = 0.05
    lost = event_loss(64, delays, delays)
    assert recurring_wait(2 * delays, 64) == pytest.approx(lost, rel=0.03)
    assert lost > 55 * 0.05


@given(
    delays=st.lists(st.floats(0.0, 0.3), min_size=6, max_size=6),
    back=st.lists(st.floats(0.0, 0.3), min_size=6, max_size=6),
    micro_batches=st.integers(14, 60),
)
def test_unequal_messages_cost_as_in_events(
    delays: list[float], back: list[float], micro_batches: int
) -> None:
    """Within a tenth of what they cost, or a twentieth of one pass, wherever the slow hops are."""
    lost = event_loss(micro_batches, np.array(delays), np.array(back))
    both = np.array(delays) + np.array(back)
    assert recurring_wait(both, micro_batches) == pytest.approx(lost, rel=0.1, abs=0.15)
    assert recurring_wait(both, micro_batches) == pytest.approx(plain_wait(list(both), micro_batches))


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([(2, 2), (4, 2), (2, 4), (1, 6), (6, 1), (3, 3)]),
    recurring=st.booleans(),
    hidden=st.sampled_from([0.0, 0.3, 5.0]),
)
def test_the_cost_is_the_formula(seed: int, shape: tuple[int, int], recurring: bool, hidden: float) -> None:
    traffic = grid(*shape, recurring=recurring, hidden_s=hidden)
    rates = matrix(traffic.places + seed % 3, seed, slow=0.4)
    nodes = np.random.default_rng(seed).permutation(len(rates))
    expected = plain_cost(traffic, rates, nodes.tolist())
    assert scorer(traffic, rates).cost(nodes) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 10**6))
def test_an_exchange_is_bound_by_the_card_of_one_node(seed: int) -> None:
    ranks = ((4, 2, 2), (8, 8))
    groups = (Group((0, 1, 2), 1e6, 0.01, ranks[0]), Group((3, 4), 1e6, 0.0, ranks[1]))
    traffic = Traffic(5, (Term("ep", "exchange", groups),))
    rates = matrix(5, seed, slow=0.4)
    nodes = np.random.default_rng(seed).permutation(5)
    assert scorer(traffic, rates).cost(nodes) == pytest.approx(
        plain_cost(traffic, rates, nodes.tolist()), rel=1e-12
    )


def test_chunks_come_back_from_the_last_rank_to_the_first() -> None:
    """Two chunks: every hop twice, the way back once: v (sum of hops) + (v - 1) ends, per crossing of one chunk."""
    chain = Term("pp", "chain", (Group((0, 1, 2), 1e9),), hops=Hops(8, False, weight=4.0, around=0.5))
    rates = np.full((3, 3), 1e10)
    rates[0, 2] = rates[2, 0] = 1e9
    # Hops 2 x 0.1 s there and back, twice; the way back 2 x 1 s, half as often.
    assert scorer(Traffic(3, (chain,)), rates).cost(np.arange(3)) == pytest.approx(4.0 * (0.4 + 0.5 * 2.0))


def test_a_hop_inside_a_place_does_not_use_the_network() -> None:
    chain = Term("pp", "chain", (Group((0, 0, 1), 1e9),), hops=Hops(8, False, inside_s=0.01))
    assert scorer(Traffic(2, (chain,)), np.full((2, 2), 1e10)).cost(np.arange(2)) == pytest.approx(0.02 + 0.2)
