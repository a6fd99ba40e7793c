"""Why an operator has its sharding: what every other one would cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from planner.errors import NoAnswerError, PlannerError, suggest
from planner.solvers.sharding.placement import Placements, placements
from planner.solvers.sharding.plan import Split
from planner.solvers.sharding.problem import Problem
from planner.solvers.sharding.solve import Answer, Search, with_pins

RESOLVED = 4
"""The cheapest alternatives for which all other choices are made again."""


@dataclass(frozen=True)
class Alternative:
    """Another way to run an operator.

    Args:
        split: per mesh dimension.
        inputs, outputs: placements.
        kept_s: how much longer a step takes with all other choices kept; infinite where they cannot be kept.
        resolved_s: the same with all other choices made again; None where that was not asked for or does not fit.
    """

    split: tuple[Split, ...]
    inputs: tuple[Placements, ...]
    outputs: tuple[Placements, ...]
    kept_s: float
    resolved_s: float | None = None


@dataclass(frozen=True)
class Why:
    """The chosen way and the others, cheapest first."""

    operator: str
    chosen: Alternative
    others: tuple[Alternative, ...]


def why(answer: Answer, operator: str, search: Search, *, resolve: int = RESOLVED) -> Why:
    """Alternatives of one operator.

    Args:
        search: with which the answer was found.
        resolve: for how many of the cheapest all other choices are made again.

    Raises:
        PlannerError: there is no such operator; suggests the nearest.
    """
    problem = answer.problem
    names = {item.name for item in problem.graph.operators}
    if operator not in names:
        raise PlannerError(f"no operator '{operator}': {suggest(operator, names)}", field="--why")
    number = problem.places["operator", operator]
    seconds = problem.alternatives(answer.choice, number)
    extra = seconds - seconds[answer.choice[number]]
    order = [int(at) for at in np.argsort(extra, kind="stable") if at != answer.choice[number]]
    others = []
    for rank, at in enumerate(order):
        other = _alternative(problem, number, at, float(extra[at]))
        if rank < resolve:
            other = replace(other, resolved_s=_resolved(answer, number, at, search))
        others.append(other)
    return Why(operator, _alternative(problem, number, answer.choice[number], 0.0), tuple(others))


def runners_up(answer: Answer) -> dict[str, Alternative]:
    """Per operator that stands for its copies, its cheapest other way with all other choices kept."""
    found = {}
    for number in _operators(answer.problem):
        node = answer.problem.nodes[number]
        seconds = answer.problem.alternatives(answer.choice, number)
        extra = seconds - seconds[answer.choice[number]]
        extra[answer.choice[number]] = np.inf
        if len(node) > 1 and np.isfinite(extra).any():
            at = int(np.argmin(extra))
            found[node.name] = _alternative(answer.problem, number, at, float(extra[at]))
    return found


def _operators(problem: Problem) -> Iterable[int]:
    return (number for number, node in enumerate(problem.nodes) if node.kind == "operator")


def _resolved(answer: Answer, number: int, at: int, search: Search) -> float | None:
    try:
        again = with_pins(answer, {number: at}, search)
    except NoAnswerError:
        return None
    return again.seconds - answer.seconds


def _alternative(problem: Problem, number: int, at: int, extra: float) -> Alternative:
    strategy = problem.nodes[number].strategies[at]
    return Alternative(
        strategy.split,
        tuple(map(placements, strategy.inputs)),
        tuple(map(placements, strategy.outputs)),
        extra,
    )
