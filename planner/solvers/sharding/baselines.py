"""Quick choices without a solver: replicated, greedy, and a descent that improves one node at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.solvers.sharding.placement import Floats
from planner.solvers.sharding.problem import Node, Problem, Wire

Choice = tuple[int, ...]
"""Alternative of every node of a problem."""

SWEEPS = 20
"""Most rounds of the descent; it ends earlier when a round changes nothing."""


def replicated(problem: Problem) -> Choice:
    """Every rank does all the work."""
    return tuple(_whole(node) for node in problem.nodes)


def greedy(problem: Problem) -> Choice:
    """Each operator in its turn takes what is cheapest after those before it, as OneFlow does (arXiv 2110.15032).

    Stored tensors lie as their first consumer wants them.
    """
    chosen: dict[int, int] = {}
    used: dict[int, set[int]] = {}
    into: list[list[tuple[int, Wire]]] = [[] for _ in problem.nodes]
    for number, wire in enumerate(problem.wires):
        for reader in {use.node for use in wire.uses}:
            into[reader].append((number, wire))
    for number, node in enumerate(problem.nodes):
        if node.kind == "leaf":
            continue
        total = node.seconds.copy()
        for place, wire in into[number]:
            total = total + _arrival(wire, number, chosen, used.get(place, set()), problem)
        chosen[number] = int(np.argmin(total))
        for place, wire in into[number]:
            _settle(wire, number, chosen, problem)
            classes = used.setdefault(place, set())
            classes.update(int(use.classes[chosen[number]]) for use in wire.uses if use.node == number)
    return tuple(chosen.get(number, _whole(node)) for number, node in enumerate(problem.nodes))


def descend(problem: Problem, choice: Choice, fixed: Mapping[int, np.ndarray] | None = None) -> Choice:
    """Changes one node at a time while that saves time.

    Args:
        fixed: node -> mask of the alternatives that it may take.
    """
    current = list(choice)
    for _ in range(SWEEPS):
        changed = False
        for number in range(len(problem.nodes)):
            seconds = problem.alternatives(current, number)
            if fixed is not None and number in fixed:
                seconds = np.where(fixed[number], seconds, np.inf)
            best = int(np.argmin(seconds))
            if seconds[best] < seconds[current[number]] * (1 - 1e-9):
                current[number], changed = best, True
        if not changed:
            break
    return tuple(current)


def _arrival(wire: Wire, number: int, chosen: Mapping[int, int], used: set[int], problem: Problem) -> Floats:
    """(alternatives,): seconds to bring a value to a node; free where others use it so."""
    uses = [use.classes for use in wire.uses if use.node == number]
    if wire.producer in chosen:
        rows, own = np.array([wire.placed[chosen[wire.producer]]]), np.zeros(1)
    elif wire.producer < number:  # a stored tensor that may still lie anywhere
        rows, own = wire.placed, problem.nodes[wire.producer].seconds
    else:  # the copy before it in a repeated block, not chosen yet
        return np.zeros(len(uses[0]))
    seconds = wire.seconds[rows].copy()
    seconds[:, sorted(used)] = 0.0
    total: Floats = sum((seconds[:, classes] for classes in uses), start=own[:, None])
    least: Floats = total.min(axis=0)
    return least


def _settle(wire: Wire, number: int, chosen: dict[int, int], problem: Problem) -> None:
    """A stored tensor lies where its first consumer wants it, if that is cheapest."""
    if wire.producer in chosen or wire.producer > number:
        return
    classes = [use.classes[chosen[number]] for use in wire.uses if use.node == number]
    seconds = sum(
        (wire.seconds[wire.placed, at] for at in classes), start=problem.nodes[wire.producer].seconds
    )
    chosen[wire.producer] = int(np.argmin(seconds))


def _whole(node: Node) -> int:
    """The alternative that splits nothing: the first of all lists."""
    return 0
