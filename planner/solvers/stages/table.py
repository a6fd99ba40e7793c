"""Least seconds of every run of layers on every stage, with the modes that reach them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solvers.stages.instance import Floats, Ints, StageProblem
from planner.solvers.stages.mixes import EMPTY, Front, one_more


@dataclass(frozen=True, eq=False)
class StageTable:
    """What stage s costs when it holds layers i .. j - 1, in the modes that are fastest within its memory.

    Args:
        seconds: (S, L + 1, L + 1) per micro-batch at [s, i, j]; infinite where nothing fits, j < i, or an empty stage may not be.
        bottleneck: (S, L + 1, L + 1) what the slowest stage adds to the step: (m - 1) seconds + once.
    """

    seconds: Floats
    bottleneck: Floats


NO_LAYERS, NO_RUN = -1, -2
"""Bags of empty and of impossible runs: the last rows but none and but one of tables over bags."""


@dataclass(frozen=True, eq=False)
class Bags:
    """Runs of layers folded by what they hold: seconds and bytes depend on how many layers of each type a run has.

    Args:
        of_run: (L + 1, L + 1) bag of the run i .. j - 1 at [i, j]; ``NO_LAYERS`` where j = i, ``NO_RUN`` where j < i.
        counts: (bags, K).
        smaller: (bags,) the bag without its last layer, ``NO_LAYERS`` for none; it precedes the bag.
        last: (bags,) type of that layer.
    """

    of_run: Ints
    counts: Ints
    smaller: Ints
    last: Ints


def bags_of(layers: Ints, types: int) -> Bags:
    """The bags of all runs of a row of layers, smaller ones first."""
    length = len(layers)
    before = np.zeros((length + 1, types), np.int64)
    np.cumsum(layers[:, None] == np.arange(types), axis=0, out=before[1:])
    starts, stops = np.triu_indices(length + 1, k=1)
    order = np.argsort(stops - starts, kind="stable")
    starts, stops = starts[order], stops[order]
    held = before[stops] - before[starts]
    keys = held @ (length + 1) ** np.arange(types)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    of_run = np.full((length + 1, length + 1), NO_RUN, np.int64)
    np.fill_diagonal(of_run, NO_LAYERS)
    of_run[starts, stops] = rank[inverse]
    chosen = np.sort(first)
    smaller = of_run[starts[chosen], stops[chosen] - 1]
    return Bags(of_run, held[chosen], smaller, layers[stops[chosen] - 1])


@dataclass(frozen=True, eq=False)
class Inner:
    """The inner choice of modes: Pareto sets of every bag on every device class that a stage uses."""

    problem: StageProblem
    bags: Bags
    fronts: dict[int, tuple[Front, ...]]

    def budgets(self, bag: int | slice | Ints) -> Floats:
        """(bags, S) bytes per micro-batch in flight that the stages leave to the layers of bags."""
        problem = self.problem
        static = self.bags.counts[bag] @ problem.static_bytes[problem.stage_class].T
        left: Floats = (problem.capacity_bytes - problem.fixed_bytes - static) / problem.in_flight
        return left

    def table(self) -> StageTable:
        """Seconds of all runs on all stages."""
        problem, bags = self.problem, self.bags
        least = np.full((len(bags.counts) + 2, problem.stages), np.inf)
        empty = problem.may_be_empty & (problem.fixed_bytes <= problem.capacity_bytes)
        least[NO_LAYERS, empty] = 0.0
        for device, fronts in self.fronts.items():
            stages = np.flatnonzero(problem.stage_class == device)
            budgets = self.budgets(slice(None))[:, stages]
            for bag, front in enumerate(fronts):
                place = front.within(budgets[bag])
                found = place >= 0
                least[bag, stages[found]] = front.seconds[place[found]]
        least += problem.fixed_s
        counts = np.concatenate([bags.counts, np.zeros((2, problem.types), np.int64)])
        once = counts @ problem.once_s[problem.stage_class].T + problem.fixed_once_s
        slowest = np.full(least.shape, np.inf)
        fits = np.isfinite(least)
        slowest[fits] = (problem.micro_batches - 1) * least[fits] + once[fits]
        return StageTable(least[bags.of_run].transpose(2, 0, 1), slowest[bags.of_run].transpose(2, 0, 1))

    def modes(self, stage: int, start: int, stop: int) -> Ints:
        """(stop - start,) mode of each layer of a run on a stage."""
        bag = int(self.bags.of_run[start, stop])
        if bag == NO_LAYERS:
            return np.zeros(0, np.int64)
        fronts = self.fronts[int(self.problem.stage_class[stage])]
        place = int(fronts[bag].within(self.budgets(bag)[stage]))
        chosen: dict[int, list[int]] = {}
        while bag >= 0:
            place, mode = divmod(int(fronts[bag].came[place]), self.problem.modes)
            chosen.setdefault(int(self.bags.last[bag]), []).append(mode)
            bag = int(self.bags.smaller[bag])
        waiting = {kind: iter(sorted(modes, reverse=True)) for kind, modes in chosen.items()}
        return np.array([next(waiting[int(kind)]) for kind in self.problem.layers[start:stop]], np.int64)


def inner_choice(problem: StageProblem) -> Inner:
    """Pareto sets of mixes for every bag of layers that a stage may hold."""
    bags = bags_of(problem.layers, problem.types)
    bare = Inner(problem, bags, {})
    budgets = bare.budgets(slice(None))
    fronts = {}
    for device in np.unique(problem.stage_class).tolist():
        most = budgets[:, problem.stage_class == device].max(axis=1)
        mixes: list[Front] = []
        for bag, (smaller, kind) in enumerate(zip(bags.smaller.tolist(), bags.last.tolist(), strict=True)):
            known = mixes[smaller] if smaller >= 0 else EMPTY
            times, kept = problem.seconds[device, kind], problem.kept_bytes[device, kind]
            mixes.append(one_more(known, times, kept, float(most[bag])))
        fronts[device] = tuple(mixes)
    return Inner(problem, bags, fronts)
