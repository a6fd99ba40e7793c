"""The best placement that is found: all of them for few nodes, annealing with restarts for many."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from planner.solvers.placement.bound import lower_bound
from planner.solvers.placement.score import Nodes, Scorer

if TYPE_CHECKING:
    from planner.solvers.placement.kernel import State

EXACT_NODES = 8
"""Up to so many nodes all permutations are tried."""

EQUAL = 1e-9
"""Placements whose costs differ relatively by less cost the same; the ranks' own order then stays."""

SPREAD = 0.1
"""Weight of the mean group beside the slowest one while annealing."""

SAMPLES = 200
"""Random moves whose mean change is the first temperature."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Options:
    """How long to search.

    Args:
        seed: of the first restart; the next one adds one.
        restarts: annealings, the first from rank order, then in turn from a random placement and the best so far.
        steps: moves of each; None for as many as the nodes deserve.
        time_limit_s: no restart begins later; None for no limit.
    """

    seed: int = 0
    restarts: int = 3
    steps: int | None = None
    time_limit_s: float | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """The best placement.

    Args:
        nodes: of each place; those of places beyond the layout's stay idle.
        cost_s, rank_order_s: of it, and of nodes in their own order.
        bound_s: no placement costs less.
        method: ``unchanged`` (rank order is at the bound), ``exhaustive`` or ``annealing``.
        restarts: that ran.
        moves: tried by them; permutations for ``exhaustive``.
    """

    nodes: Nodes
    cost_s: float
    rank_order_s: float
    bound_s: float
    method: str
    restarts: int = 0
    moves: int = 0

    @property
    def proved(self) -> bool:
        """Whether no placement is better."""
        return self.cost_s <= self.bound_s * (1.0 + EQUAL)

    @property
    def gap(self) -> float:
        """1 - bound / cost."""
        return max(1.0 - self.bound_s / self.cost_s, 0.0) if self.cost_s > 0.0 and not self.proved else 0.0


def best_placement(scorer: Scorer, options: Options | None = None, progress: Progress | None = None) -> Found:
    """The placement of least cost that is found; never worse than rank order, and rank order among equals.

    Args:
        scorer: of the traffic on the links.
        progress: called with the done part and a message.
    """
    chosen = options or Options()
    start = np.arange(len(scorer.inverse), dtype=np.int64)
    rank_order = scorer.cost(start)
    bound = lower_bound(scorer)
    if rank_order <= bound * (1.0 + EQUAL):
        return Found(start, rank_order, rank_order, rank_order, "unchanged")
    if len(start) <= EXACT_NODES:
        return _exhaustive(scorer, start, rank_order)
    nodes, cost, restarts, moves = _restarted(scorer, start, rank_order, bound, chosen, progress)
    if cost >= rank_order * (1.0 - EQUAL):
        nodes, cost = start, rank_order
    return Found(nodes, cost, rank_order, min(bound, cost), "annealing", restarts, moves)


def _exhaustive(scorer: Scorer, start: Nodes, rank_order: float) -> Found:
    from math import factorial

    from planner.solvers.placement.kernel import best_of_all

    nodes = start.copy()
    cost = float(best_of_all(scorer.items, scorer.inverse, nodes))
    if cost >= rank_order * (1.0 - EQUAL):
        nodes, cost = start, rank_order
    return Found(nodes, cost, rank_order, cost, "exhaustive", 0, factorial(len(start)))


def _restarted(
    scorer: Scorer, start: Nodes, rank_order: float, bound: float, options: Options, progress: Progress | None
) -> tuple[Nodes, float, int, int]:
    """(best nodes, their cost, restarts, moves)."""
    from planner.solvers.placement.kernel import DRAWS, anneal

    began = time.monotonic()
    best, best_cost = start, rank_order
    steps = options.steps or default_steps(len(start))
    done = 0
    for restart in range(options.restarts):
        late = options.time_limit_s is not None and time.monotonic() - began > options.time_limit_s
        if (restart and late) or best_cost <= bound * (1.0 + EQUAL):
            break
        seed = options.seed + restart
        random = restart % 2 == 1
        generator = np.random.default_rng(seed)
        state = _state(generator.permutation(start) if random else best.copy(), len(scorer.items.pattern))
        draws = generator.random((SAMPLES + steps, DRAWS))
        cost = float(anneal(scorer.items, scorer.inverse, state, draws, SAMPLES, SPREAD))
        done += 1
        if cost < best_cost * (1.0 - EQUAL):
            best, best_cost = state.nodes, cost
        if progress is not None:
            progress(done / options.restarts, "annealing")
    return best, best_cost, done, done * steps


def _state(nodes: Nodes, groups: int) -> State:
    """A start from these nodes; the kernel fills in the rest."""
    from planner.solvers.placement.kernel import State

    places = len(nodes)
    return State(
        nodes=nodes,
        values=np.empty(groups),
        changed=np.empty(2 * places, dtype=np.int64),
        fresh=np.empty(2 * places, dtype=np.int64),
        touched=np.empty(groups, dtype=np.int64),
        before=np.empty(groups),
        place_seen=np.full(places, -1, dtype=np.int64),
        group_seen=np.full(groups, -1, dtype=np.int64),
    )


def default_steps(nodes: int) -> int:
    """Moves of one annealing: more for more nodes."""
    return int(np.clip(6000 * nodes, 50_000, 500_000))
