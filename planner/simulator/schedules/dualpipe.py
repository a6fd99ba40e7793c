"""DualPipe: micro-batches enter at both ends, every rank holds a stage of each direction."""

from __future__ import annotations

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.ordering import number
from planner.simulator.schedules.schedule import NONE, Schedule
from planner.simulator.schedules.v_shape import dual_order


def dualpipe(ranks: int, micro_batches: int) -> Schedule:
    """Two chains in opposite directions, half of the micro-batches each (arXiv 2412.19437, section 3.2.1).

    Stages 0 .. p-1 run down the ranks; stage p + s is the second copy of model part s and lies on rank p - 1 - s.

    Raises:
        PlannerError: odd ranks or micro-batches, or fewer than 2p micro-batches.
    """
    if ranks % 2 or micro_batches % 2 or micro_batches < 2 * ranks:
        raise PlannerError(
            f"dualpipe with {micro_batches} micro-batches on {ranks} ranks; accepted: an even number of ranks, an even "
            f"number of micro-batches, at least 2 x ranks",
            field="schedule",
        )
    half = micro_batches // 2
    actions = []
    for rank in range(ranks):
        distance = min(rank, ranks - 1 - rank)
        stages, first = [rank, 2 * ranks - 1 - rank], [0, half]
        if rank >= ranks // 2:
            stages, first = stages[::-1], first[::-1]
        actions.append(number(dual_order(ranks // 2, distance, half), stages, first))
    part = np.arange(ranks, dtype=np.int64)
    chain = np.concatenate([[NONE], part[:-1]])
    return Schedule(
        name="dualpipe",
        rank_of=np.concatenate([part, part[::-1]]),
        previous=np.concatenate([chain, np.where(chain == NONE, NONE, chain + ranks)]),
        model_stage=np.tile(part, 2),
        first=np.repeat(np.array([0, half], dtype=np.int64), ranks),
        count=np.full(2 * ranks, half, dtype=np.int64),
        actions=tuple(actions),
    )
