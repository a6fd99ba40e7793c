"""The search for placements: exact for few nodes, never worse than rank order, nothing to gain on equal links."""

from __future__ import annotations

import itertools
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.solvers.placement import anneal
from planner.solvers.placement.anneal import Options, best_placement
from planner.solvers.placement.bound import lower_bound
from planner.solvers.placement.score import scorer
from planner.solvers.placement.traffic import Group, Term, Traffic
from tests.solvers.placement.problems import grid, matrix, plain_cost

SHAPES = [(2, 2), (1, 5), (5, 1), (2, 3), (3, 2)]


def every_placement(traffic: Traffic, rates: np.ndarray) -> float:
    """The least cost over all permutations."""
    return min(
        plain_cost(traffic, rates, nodes) for nodes in itertools.permutations(range(len(rates)), len(rates))
    )


def exchange() -> Traffic:
    """Experts over pairs of places, weights over all four: groups that share places."""
    pairs = tuple(Group(places, 1e7, 0.0, (8, 8)) for places in ((0, 1), (2, 3)))
    ring = (Group((0, 1, 2, 3), 1e10),)
    return Traffic(4, (Term("ep", "exchange", pairs), Term("dp", "ring", ring, hidden_s=0.05)))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_few_nodes_get_the_best_of_all_placements(shape: tuple[int, int], seed: int) -> None:
    traffic = grid(*shape)
    rates = matrix(traffic.places, seed, slow=0.4)
    found = best_placement(scorer(traffic, rates))
    assert found.cost_s == pytest.approx(every_placement(traffic, rates), rel=1e-12)
    assert found.proved
    assert found.gap == 0.0
    assert found.method in ("exhaustive", "unchanged")
    assert plain_cost(traffic, rates, found.nodes.tolist()) == pytest.approx(found.cost_s)


@pytest.mark.parametrize("traffic", [grid(2, 2), grid(3, 2), exchange()], ids=["2x2", "3x2", "experts"])
@pytest.mark.parametrize("seed", range(4))
def test_annealing_finds_it_too(traffic: Traffic, seed: int) -> None:
    rates = matrix(traffic.places + 1, seed, slow=0.4)
    with mock.patch.object(anneal, "EXACT_NODES", 0):
        found = best_placement(scorer(traffic, rates), Options(seed=seed, steps=20_000))
    assert found.cost_s == pytest.approx(every_placement(traffic, rates), rel=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_eight_nodes_of_a_square_are_exact(seed: int) -> None:
    """Of the 40,320 permutations a quarter is enough by hand, since both rings may be turned together."""
    traffic, rates = grid(2, 4), matrix(8, seed, slow=0.3)
    # Turning keeps the pairs of the pipelines, so node 0 plays place 0 or place 4.
    least = min(
        plain_cost(traffic, rates, nodes)
        for first in (0, 4)
        for rest in itertools.permutations(range(1, 8))
        for nodes in [(*rest[:first], 0, *rest[first:])]
    )
    assert best_placement(scorer(traffic, rates)).cost_s == pytest.approx(least, rel=1e-12)


@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from([*SHAPES, (4, 4), (2, 8), (8, 1)]),
    hidden=st.sampled_from([0.0, 0.2]),
)
def test_never_worse_than_rank_order_and_never_below_the_bound(
    seed: int, shape: tuple[int, int], hidden: float
) -> None:
    traffic = grid(*shape, hidden_s=hidden)
    rates = matrix(traffic.places + seed % 2, seed, slow=0.3)
    found = best_placement(scorer(traffic, rates), Options(seed=seed, restarts=1, steps=3000))
    rank_order = plain_cost(traffic, rates, list(range(len(rates))))
    assert found.rank_order_s == pytest.approx(rank_order)
    assert found.cost_s <= rank_order * (1 + 1e-12)
    assert found.bound_s <= found.cost_s * (1 + 1e-12)
    assert sorted(found.nodes.tolist()) == list(range(len(rates)))


@given(seed=st.integers(0, 10**6), shape=st.sampled_from(SHAPES), recurring=st.booleans())
def test_no_placement_beats_the_bound(seed: int, shape: tuple[int, int], recurring: bool) -> None:
    generator = np.random.default_rng(seed)
    traffic = grid(*shape, micro_batches=int(generator.integers(1, 40)), recurring=recurring)
    rates = matrix(traffic.places + seed % 2, seed, slow=0.5)
    bound = lower_bound(scorer(traffic, rates))
    assert all(
        bound <= plain_cost(traffic, rates, generator.permutation(len(rates)).tolist()) * (1 + 1e-12)
        for _ in range(30)
    )


@given(seed=st.integers(0, 10**6), shape=st.sampled_from(SHAPES))
def test_faster_links_never_cost_and_names_of_nodes_do_not_matter(seed: int, shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(seed)
    traffic = grid(*shape)
    rates = matrix(traffic.places, seed, slow=0.4)
    best = best_placement(scorer(traffic, rates)).cost_s
    faster = rates * generator.uniform(1.0, 2.0, rates.shape)
    assert best_placement(scorer(traffic, faster)).cost_s <= best * (1 + 1e-9)
    order = generator.permutation(len(rates))
    assert best_placement(scorer(traffic, rates[np.ix_(order, order)])).cost_s == pytest.approx(
        best, rel=1e-8
    )


@pytest.mark.parametrize("traffic", [grid(4, 8), grid(1, 16), grid(8, 1), exchange()])
@pytest.mark.parametrize("idle", [0, 3])
def test_equal_links_change_nothing(traffic: Traffic, idle: int) -> None:
    nodes = traffic.places + idle
    found = best_placement(scorer(traffic, np.full((nodes, nodes), 5e10)))
    assert found.method == "unchanged"
    assert found.nodes.tolist() == list(range(nodes))
    assert found.proved


@pytest.mark.parametrize("pair", [(0, 1), (3, 7), (2, 3)])
def test_a_slow_pair_is_not_used_by_the_pipeline(pair: tuple[int, int]) -> None:
    """Eight nodes in one pipeline: rank order crosses the pair or not, the placement never does."""
    traffic, rates = grid(8, 1), np.full((8, 8), 1e11)
    a, b = pair
    rates[a, b] = rates[b, a] = 1e10
    found = best_placement(scorer(traffic, rates))
    route = found.nodes.tolist()
    assert {frozenset(hop) for hop in itertools.pairwise(route)}.isdisjoint({frozenset(pair)})
    fine = plain_cost(traffic, np.full((8, 8), 1e11), range(8))
    assert found.cost_s == pytest.approx(fine)


def test_a_slow_node_stays_idle_when_one_is_to_spare() -> None:
    traffic, rates = grid(4, 3), np.full((13, 13), 1e11)
    rates[5, :] = rates[:, 5] = 2e10
    found = best_placement(scorer(traffic, rates), Options(steps=20_000))
    assert found.nodes[12] == 5
    assert found.cost_s == pytest.approx(plain_cost(traffic, np.full((13, 13), 1e11), range(13)))


def test_the_same_seed_gives_the_same_placement() -> None:
    scored = scorer(grid(4, 4), matrix(16, 1))
    first, second = (best_placement(scored, Options(seed=3, steps=5000)) for _ in range(2))
    assert first.nodes.tolist() == second.nodes.tolist()
    assert first.cost_s == second.cost_s


def test_a_time_limit_ends_the_restarts() -> None:
    found = best_placement(
        scorer(grid(4, 4), matrix(16, 1)), Options(restarts=500, steps=50_000, time_limit_s=1e-6)
    )
    assert found.restarts == 1


def test_more_places_than_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="16 places on 15 nodes"):
        scorer(grid(4, 4), matrix(15, 0))
