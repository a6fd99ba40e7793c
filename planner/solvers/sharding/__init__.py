"""Sharding of operator graphs: one placement per operator on a mesh of devices, chosen by a linear programme."""

from planner.solvers.sharding.build import make_problem
from planner.solvers.sharding.extract import extract
from planner.solvers.sharding.hardware import MeshHardware, mesh_hardware
from planner.solvers.sharding.placement import DeviceMesh, parse_mesh
from planner.solvers.sharding.plan import Choice, InnerExchange, PlacedStep, ShardingPlan, Transition
from planner.solvers.sharding.problem import Problem
from planner.solvers.sharding.rules import data_parallel, two_rules
from planner.solvers.sharding.solve import Answer, Search, best_sharding, rivals

__all__ = [
    "Answer",
    "Choice",
    "DeviceMesh",
    "InnerExchange",
    "MeshHardware",
    "PlacedStep",
    "Problem",
    "Search",
    "ShardingPlan",
    "Transition",
    "best_sharding",
    "data_parallel",
    "extract",
    "make_problem",
    "mesh_hardware",
    "parse_mesh",
    "rivals",
    "two_rules",
]
