"""Outer rows of a space that wait to be gone through, in the order of what no layout under them can beat."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.costs.prices import Prices
from planner.costs.sizes import FloatArray
from planner.jobs.types import Job, Objective
from planner.layouts.layouts import IntArray, Layouts
from planner.layouts.space.space import Space
from planner.solvers.bounds import time_lower_bound
from planner.solvers.memory_bound import memory_lower_bound
from planner.solvers.ranking import objective_values


@dataclass(frozen=True)
class Queue:
    """Rows that wait.

    Args:
        space: of which they are outer rows.
        time_s, memory_bytes: what no layout under an outer row can go below; devices: that it uses, all (outer rows,).
        left: the rows that wait, in order.
    """

    space: Space
    time_s: FloatArray
    memory_bytes: FloatArray
    devices: IntArray
    left: IntArray

    def __len__(self) -> int:
        return len(self.left)

    @property
    def layouts(self) -> int:
        """Layouts under the rows that wait."""
        return int(self.space.candidates[self.left].sum())

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray, IntArray]:
        """Time, memory and devices of the rows that wait."""
        return self.time_s[self.left], self.memory_bytes[self.left], self.devices[self.left]

    def least(self, objective: Objective) -> float:
        """No layout that waits has a smaller value of the objective; infinite when none waits."""
        return float(objective_values(objective, *self.bounds).min(initial=np.inf))

    def keep(self, chosen: NDArray[np.bool_]) -> Queue:
        """The queue without the others of the rows that wait."""
        return replace(self, left=self.left[chosen])

    def front_first(self) -> Queue:
        """The queue that begins with the rows that no other one beats by both bounds, fastest first.

        They lead to layouts along the whole Pareto set, which rule out most of the others.
        """
        time_s, memory, _ = self.bounds
        order = np.lexsort((memory, time_s))
        leaner = np.minimum.accumulate(memory[order])
        front = order[memory[order] < np.concatenate([[np.inf], leaner[:-1]])]
        others = np.delete(self.left, front)
        return replace(self, left=np.concatenate([self.left[front], others]))

    def first(self, layouts: int) -> tuple[IntArray, Queue]:
        """(the first rows with at most so many layouts together, at least one; the queue without them)."""
        total = np.cumsum(self.space.candidates[self.left])
        count = max(int(np.searchsorted(total, layouts, side="right")), 1)
        return self.left[:count], replace(self, left=self.left[count:])


def queue_of(job: Job, space: Space, prices: Prices, objective: Objective, portion: int) -> Queue:
    """All outer rows of a space by ascending bound of the objective.

    Args:
        prices: block prices that cover them, or the least over all meshes of the experts.
        portion: layouts inside which rows are sorted by pipeline, see ``visiting_order``.
    """
    time_s = time_lower_bound(job, space.outer, prices)
    memory = memory_lower_bound(job, space, prices)
    devices = devices_of(space.outer)
    values = objective_values(objective, time_s, memory, devices)
    return Queue(space, time_s, memory, devices, visiting_order(space, values, portion))


def visiting_order(space: Space, bounds: FloatArray, portion: int) -> IntArray:
    """Outer rows by ascending bound, in portions of so many layouts, then four times as many, and so on.

    Inside a portion equal pipelines stand together: blocks of few distinct pipelines are priced much faster.
    """
    order = np.argsort(bounds, kind="stable")
    before = np.cumsum(space.candidates[order]) / portion
    number = np.ceil(np.log(np.maximum(before, 1.0)) / np.log(4.0)).astype(np.int64)
    outer = space.outer
    keys = (bounds[order], outer.micro_batch[order], outer.vpp[order], outer.pp[order], number)
    return order[np.lexsort(keys)]


def devices_of(layouts: Layouts) -> IntArray:
    """Devices that each row uses."""
    used: IntArray = layouts.tp * layouts.cp * layouts.pp * layouts.dp
    return used
