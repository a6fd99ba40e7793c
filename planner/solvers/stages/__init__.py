"""Uneven pipeline stages: where to cut the layers and which mode (recompute, offload) each of them gets."""

from planner.solvers.stages.coupled import CoupledCost, CoupledProblem, coupled_cost, coupled_problem
from planner.solvers.stages.instance import StageProblem, stage_problem
from planner.solvers.stages.plan import StagePlan, best_stages, priced
from planner.solvers.stages.solve import CoupledPlan, best_coupled_stages

__all__ = [
    "CoupledCost",
    "CoupledPlan",
    "CoupledProblem",
    "StagePlan",
    "StageProblem",
    "best_coupled_stages",
    "best_stages",
    "coupled_cost",
    "coupled_problem",
    "priced",
    "stage_problem",
]
