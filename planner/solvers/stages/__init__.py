"""Uneven pipeline stages: where to cut the layers and which mode (recompute, offload) each of them gets."""

from planner.solvers.stages.instance import StageProblem, stage_problem
from planner.solvers.stages.plan import StagePlan, best_stages, priced

__all__ = ["StagePlan", "StageProblem", "best_stages", "priced", "stage_problem"]
