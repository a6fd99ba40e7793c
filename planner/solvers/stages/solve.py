"""The best stages of a coupled problem: the programme over counts, begun from what the dynamic programme gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from planner.errors import NoAnswerError
from planner.solvers.linear import BackEnd, Solution, no_answer, solve
from planner.solvers.stages.coupled import CoupledCost, CoupledProblem, coupled_cost
from planner.solvers.stages.instance import StageProblem
from planner.solvers.stages.milp import MS, StageProgramme, stage_programme
from planner.solvers.stages.plan import best_stages

DIVISION = "division into stages that fits"
"""What a stage programme looks for, in words."""

DEFAULT_GAP = 0.005
DEFAULT_TIME_LIMIT_S = 10.0


@dataclass(frozen=True, eq=False)
class CoupledPlan:
    """The best stages found and what is proved.

    Args:
        cost: of the plan.
        solution: of the programme; its objective and bound are milliseconds of what the plan may change.
        seed: the plan of the dynamic programme that the search began with, None when there was none.
        lower_bound_s: no plan is faster.
    """

    cost: CoupledCost
    solution: Solution
    seed: CoupledCost | None
    lower_bound_s: float

    @property
    def step_s(self) -> float:
        return self.cost.plan.step_s

    @property
    def seed_s(self) -> float | None:
        """Step of the plan that the search began with."""
        return None if self.seed is None else self.seed.plan.step_s

    @property
    def gap(self) -> float:
        """(step - lower bound) / step."""
        return max(0.0, 1.0 - self.lower_bound_s / self.step_s)


def best_coupled_stages(
    problem: CoupledProblem,
    back_end: BackEnd = "highs",
    *,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    gap: float = DEFAULT_GAP,
    seed: int = 0,
) -> CoupledPlan:
    """Cut and modes with the shortest step within what ranks and hosts share; never longer than the seed's.

    ``solution.status`` says whether the answer is proved within the gap or only the best at the time limit.

    Raises:
        NoAnswerError: nothing fits; names the family of constraints that forbids it.
    """
    made = stage_programme(problem)
    start = seed_plan(problem)
    values = None if start is None else made.start(start.plan.cuts, start.plan.modes)
    solution = solve(made.programme, back_end, time_limit_s=time_limit_s, gap=gap, seed=seed, start=values)
    cost = start
    if solution.values is not None:
        found = coupled_cost(problem, *made.plan(solution.values))
        if cost is None or found.plan.step_s < cost.plan.step_s:
            cost = found
    if cost is None:
        if solution.status == "infeasible":
            raise no_answer(made.programme, what=DIVISION)
        raise NoAnswerError(f"no {DIVISION} was found within {time_limit_s:g} s")
    bound = min(_step_s(made, solution.bound), cost.plan.step_s)
    return CoupledPlan(cost, solution, start, bound)


def _step_s(made: StageProgramme, objective_ms: float) -> float:
    """The step that an objective stands for: fixed parts of the sum of seconds are no variables."""
    return objective_ms * MS + float(made.problem.stages.fixed_s.sum()) / made.problem.chunks


def seed_plan(problem: CoupledProblem) -> CoupledCost | None:
    """The best plan of the dynamic programme that the coupled problem allows; None when it finds none.

    Each virtual stage gets an equal part of its rank's memory. Modes that need the host are tried first with all of it, then
    not at all.
    """
    stages, chunks = problem.stages, problem.chunks
    shared = problem.shared_bytes[problem.rank]
    alone = replace(
        stages,
        capacity_bytes=(stages.capacity_bytes - shared) / chunks,
        micro_batches=max(1, round(chunks * problem.paced_turns) + 1),
    )
    on_device = np.where(problem.host_bytes > 0, np.inf, stages.seconds)
    candidates: list[StageProblem] = [alone, replace(alone, seconds=on_device)]
    found = []
    for candidate in candidates if problem.host_bytes.any() else candidates[:1]:
        plan = best_stages(candidate)
        cost = None if plan is None else coupled_cost(problem, plan.cuts, plan.modes)
        if cost is not None and cost.keeps(problem):
            found.append(cost)
    return min(found, key=lambda cost: cost.plan.step_s, default=None)
