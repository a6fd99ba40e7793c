"""The best layouts so far by one objective, with a total order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.costs.sizes import FloatArray
from planner.jobs.types import Objective
from planner.layouts.layouts import IntArray
from planner.solvers.frontier import Points, join


def objective_values(
    objective: Objective, time_s: FloatArray, memory_bytes: FloatArray, devices: IntArray
) -> FloatArray:
    """What is minimised: seconds, bytes, or device-seconds (cost); monotone in all arguments."""
    if objective == "memory":
        return memory_bytes
    if objective == "cost":
        return time_s * devices
    return time_s


@dataclass(frozen=True)
class Ranking:
    """The ``size`` best points, best first; ties by the other of time and memory, then by the knobs."""

    objective: Objective
    size: int
    points: Points

    @property
    def worst(self) -> float:
        """Value that a new point must not exceed to enter; infinite while there is room."""
        if len(self.points) < self.size:
            return float("inf")
        return float(self.values(self.points)[-1])

    @property
    def best(self) -> float:
        """Best value; infinite when there is none."""
        return float(self.values(self.points)[0]) if len(self.points) else float("inf")

    def values(self, points: Points) -> FloatArray:
        """Objective values of points."""
        return objective_values(self.objective, points.time_s, points.memory_bytes, points.devices)

    def add(self, points: Points) -> Ranking:
        """The ranking of these points and more."""
        values = self.values(points)
        limit = self.worst
        if len(values) > self.size:
            limit = min(limit, float(np.partition(values, self.size - 1)[self.size - 1]))
        fresh = points.take(values <= limit)
        if not len(fresh):
            return self
        both = join(self.points, fresh)
        order = both.ordered((self.values(both), both.time_s, both.memory_bytes))
        return Ranking(self.objective, self.size, both.take(order[: self.size]))
