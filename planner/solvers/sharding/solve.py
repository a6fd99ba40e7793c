"""The best sharding: quick choices first, then the programme, which is never worse than them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner.solvers.linear import BackEnd, Programme, Solution, no_answer, solve, write_lp
from planner.solvers.sharding.baselines import Choice, descend, greedy, replicated
from planner.solvers.sharding.placement import Floats
from planner.solvers.sharding.problem import Problem
from planner.solvers.sharding.programme import Modelled, model
from planner.solvers.sharding.rules import data_parallel, two_rules

UNITS = 1000.0
"""The best quick choice counts so many units of the objective."""


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        memory_bytes: that one rank may hold; None for the memory of its device.
        back_end: solver. time_limit_s: of the solver. gap: relative, at which it may stop.
    """

    memory_bytes: float | None = None
    back_end: BackEnd = "highs"
    time_limit_s: float | None = 60.0
    gap: float = 0.0


@dataclass(frozen=True, eq=False)
class Answer:
    """The chosen sharding and its rivals.

    Args:
        choice: the best.
        solution: what the solver proved; its objective counts ``unit_s``.
        whole_at_once: the relaxation without integrality was whole already.
        rivals: quick choices by name.
        columns, rows: of the programme.
    """

    problem: Problem
    choice: Choice
    solution: Solution
    whole_at_once: bool
    rivals: Mapping[str, Choice]
    unit_s: float
    columns: int
    rows: int

    @property
    def seconds(self) -> float:
        return self.problem.seconds(self.choice)

    @property
    def lower_bound_s(self) -> float:
        """No sharding of this problem is faster."""
        return min(self.solution.bound * self.unit_s, self.seconds)


def rivals(problem: Problem) -> dict[str, Choice]:
    """Quick choices by name: what the best one is compared with."""
    return {
        "replicated": replicated(problem),
        "data parallel": data_parallel(problem),
        "two rules": two_rules(problem),
        "greedy": greedy(problem),
    }


def best_sharding(
    problem: Problem,
    search: Search | None = None,
    *,
    pinned: Mapping[int, int] | None = None,
    lp_file: str | Path | None = None,
) -> Answer:
    """The sharding with the shortest step, within memory.

    Args:
        pinned: node -> alternative that it must take.
        lp_file: the programme is written there before it is solved.

    Raises:
        NoAnswerError: nothing fits, or the limit came before anything was found; names the constraints to blame.
        PlannerError: the file cannot be written.
    """
    search = _limited(problem, search or Search())
    quick = rivals(problem)
    fitting = [choice for choice in quick.values() if _allowed(problem, choice, search, pinned)]
    if fitting:
        improved = [descend(problem, choice) for choice in fitting]
        fitting += [choice for choice in improved if _allowed(problem, choice, search, pinned)]
    best = min(fitting, key=problem.seconds, default=None)
    scale = problem.seconds(best if best is not None else quick["replicated"])
    modelled = model(problem, scale / UNITS, memory_bytes=search.memory_bytes, pinned=pinned)
    if lp_file is not None:
        write_lp(modelled.programme, lp_file)
    solution, whole = _solved(modelled, search, None if best is None else modelled.values(best))
    if solution.values is None:
        if best is None:
            raise no_answer(modelled.programme, what="sharding")
        choice = best
    else:
        choice = modelled.choice(solution.values)
        if best is not None and problem.seconds(best) < problem.seconds(choice):
            choice = best
    programme: Programme = modelled.programme
    return Answer(problem, choice, solution, whole, quick, modelled.unit_s, programme.columns, programme.rows)


def _limited(problem: Problem, search: Search) -> Search:
    """The search with the memory of the device where none is set, and without a limit that nothing can reach."""
    limit = search.memory_bytes
    if limit is None:
        limit = problem.hardware.cluster.accelerator.memory_bytes
    return replace(search, memory_bytes=None if problem.most_bytes() <= limit else limit)


def _allowed(problem: Problem, choice: Choice, search: Search, pinned: Mapping[int, int] | None) -> bool:
    if any(choice[node] != at for node, at in (pinned or {}).items()):
        return False
    return search.memory_bytes is None or problem.bytes(choice) <= search.memory_bytes


def _solved(modelled: Modelled, search: Search, start: Floats | None) -> tuple[Solution, bool]:
    """The relaxation first: where it is whole it is the answer."""
    programme = modelled.programme
    relaxed = solve(
        programme, search.back_end, time_limit_s=search.time_limit_s, gap=search.gap, relaxed=True
    )
    if relaxed.proved and relaxed.values is not None:
        rounded = np.where(programme.integer, np.rint(relaxed.values), relaxed.values)
        if programme.accepts(rounded):
            return relaxed, True
    if relaxed.status == "infeasible":
        return relaxed, False
    found = solve(programme, search.back_end, time_limit_s=search.time_limit_s, gap=search.gap, start=start)
    return found, False
