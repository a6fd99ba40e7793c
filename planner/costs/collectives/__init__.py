"""Time and traffic of collectives on hierarchical networks, over arrays of groups."""

from planner.costs.collectives.confidence import LOW_CONFIDENCE, doubted_between_nodes
from planner.costs.collectives.constants import DEVICE_INITIATED, CollectiveConstants
from planner.costs.collectives.dispatch import (
    algorithms,
    busbw_factor,
    collective_cost,
    collective_named,
)
from planner.costs.collectives.fabrics import achieved_rate
from planner.costs.collectives.table import Group, Line
from planner.costs.collectives.types import COLLECTIVES, Algorithm, Collective, CollectiveCost

__all__ = [
    "COLLECTIVES",
    "DEVICE_INITIATED",
    "LOW_CONFIDENCE",
    "Algorithm",
    "Collective",
    "CollectiveConstants",
    "CollectiveCost",
    "Group",
    "Line",
    "achieved_rate",
    "algorithms",
    "busbw_factor",
    "collective_cost",
    "collective_named",
    "doubted_between_nodes",
]
