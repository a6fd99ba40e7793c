"""The best sharding: quick choices first, then the programme, which is never worse than them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from planner.errors import NoAnswerError
from planner.solvers.linear import BackEnd, Solution, no_answer, solve, write_lp
from planner.solvers.sharding.baselines import Choice, descend, greedy, replicated
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
        """Of one step."""
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
    problem: Problem, search: Search | None = None, *, lp_file: str | Path | None = None
) -> Answer:
    """The sharding with the shortest step, within memory.

    Args:
        lp_file: the programme is written there before it is solved.

    Raises:
        NoAnswerError: nothing fits, or the limit came before anything was found; names the constraints to blame.
        PlannerError: the file cannot be written.
    """
    return _best(problem, search or Search(), rivals(problem), {}, lp_file)


def with_pins(answer: Answer, pinned: Mapping[int, int], search: Search | None = None) -> Answer:
    """The best sharding of the same problem in which some nodes must take given alternatives.

    Args:
        pinned: node -> alternative.

    Raises:
        NoAnswerError: there is none that fits.
    """
    near = tuple(pinned.get(node, at) for node, at in enumerate(answer.choice))
    return _best(answer.problem, search or Search(), {"as before": near, **answer.rivals}, pinned, None)


def _best(
    problem: Problem,
    search: Search,
    quick: Mapping[str, Choice],
    pinned: Mapping[int, int],
    lp_file: str | Path | None,
) -> Answer:
    search = _limited(problem, search)
    usual = min(seconds for choice in quick.values() if np.isfinite(seconds := problem.seconds(choice)))
    unit_s = usual / UNITS if usual > 0 else 1.0  # a graph of views costs nothing
    modelled = model(problem, unit_s, memory_bytes=search.memory_bytes, pinned=pinned)
    if lp_file is not None:
        write_lp(modelled.programme, lp_file)
    solution = _whole_relaxation(modelled, search)
    whole = solution is not None
    if solution is None:
        starts = _starts(problem, quick.values(), search, pinned)
        start = modelled.values(starts[0]) if starts else None
        solution = solve(
            modelled.programme, search.back_end, time_limit_s=search.time_limit_s, gap=search.gap, start=start
        )
    if solution.values is None:
        if solution.status == "none":
            raise NoAnswerError(f"no sharding found within {search.time_limit_s:g} s", field="--time-limit")
        raise no_answer(modelled.programme, what="sharding")
    choice = modelled.choice(solution.values)
    size = modelled.programme.columns, modelled.programme.rows
    return Answer(problem, choice, solution, whole, quick, modelled.unit_s, *size)


def _starts(
    problem: Problem, quick: Iterable[Choice], search: Search, pinned: Mapping[int, int]
) -> list[Choice]:
    """Quick choices that keep the limits, and what a descent makes of them, fastest first."""
    masks = {node: np.arange(len(problem.nodes[node])) == at for node, at in pinned.items()}
    pinned_choices = [tuple(pinned.get(node, at) for node, at in enumerate(choice)) for choice in quick]
    every = [*pinned_choices, *(descend(problem, choice, masks) for choice in pinned_choices)]
    fitting = [
        choice
        for choice in every
        if np.isfinite(problem.seconds(choice))
        and (search.memory_bytes is None or problem.bytes(choice) <= search.memory_bytes)
    ]
    return sorted(fitting, key=problem.seconds)


def _whole_relaxation(modelled: Modelled, search: Search) -> Solution | None:
    """The optimum without integrality, where all choices are whole in it already."""
    programme = modelled.programme
    relaxed = solve(
        programme, search.back_end, time_limit_s=search.time_limit_s, gap=search.gap, relaxed=True
    )
    if not relaxed.proved or relaxed.values is None:
        return None
    rounded = np.where(programme.integer, np.rint(relaxed.values), relaxed.values)
    return relaxed if programme.accepts(rounded) else None


def _limited(problem: Problem, search: Search) -> Search:
    """The search with the memory of the device where none is set, and without a limit that nothing can reach."""
    limit = search.memory_bytes
    if limit is None:
        limit = problem.hardware.cluster.accelerator.memory_bytes
    return replace(search, memory_bytes=None if problem.most_bytes() <= limit else limit)
