"""Can a schedule run to its end, and if not, who waits for what?"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from planner.simulator.schedules.dependencies import FlatActions, dependencies, flatten
from planner.simulator.schedules.schedule import Schedule
from planner.simulator.schedules.tokens import rows, token

_NAMED = 4


def deadlock(schedule: Schedule) -> str | None:
    """None when every rank gets to the end of its list, else a sentence that names the ranks that wait for one another.

    Every rank runs its actions strictly in order; an action starts when its inputs are there.

    Raises:
        PlannerError: an action that does not exist on its rank, or an input that nothing produces.
    """
    flat = flatten(schedule)
    edges = dependencies(schedule, flat)
    needs: dict[int, list[int]] = defaultdict(list)
    for later, earlier in zip(edges.later.tolist(), edges.earlier.tolist(), strict=True):
        needs[later].append(earlier)
    stopped = _stopped(schedule, flat, needs)
    return _sentence(schedule, flat, stopped) if stopped else None


def _stopped(
    schedule: Schedule, flat: FlatActions, needs: dict[int, list[int]]
) -> dict[int, tuple[int, int]]:
    """rank -> (the action at which it stops for good, an input of it that never comes); empty when all end."""
    rank_of = flat.rank.tolist()
    starts = np.concatenate([[0], np.cumsum([len(actions) for actions in schedule.actions])]).tolist()
    following = starts[:-1].copy()
    waiters: dict[int, list[int]] = defaultdict(list)
    waits: dict[int, int] = {}
    queue = list(range(schedule.ranks))
    while queue:
        rank = queue.pop()
        while following[rank] < starts[rank + 1]:
            at = following[rank]
            missing = next((need for need in needs.get(at, ()) if need >= following[rank_of[need]]), None)
            if missing is not None:
                waiters[missing].append(rank)
                waits[rank] = missing
                break
            following[rank] += 1
            queue.extend(waiters.pop(at, ()))
    return {
        rank: (following[rank], missing)
        for rank, missing in sorted(waits.items())
        if following[rank] < starts[rank + 1]
    }


def _sentence(schedule: Schedule, flat: FlatActions, stopped: dict[int, tuple[int, int]]) -> str:
    """The ranks of one circle of waiting, or one that waits for itself."""
    walked: list[int] = []
    rank = min(stopped)
    while rank not in walked:
        walked.append(rank)
        rank = int(flat.rank[stopped[rank][1]])
    circle = walked[walked.index(rank) :]
    words = [token(row) for actions in schedule.actions for row in rows(actions)]
    parts = []
    for member in circle[:_NAMED]:
        action, missing = stopped[member]
        place = f"rank {member} waits at {words[action]} (action {flat.position[action] + 1}) for {words[missing]}"
        own = flat.rank[missing] == member
        parts.append(place + (", which comes later on it" if own else f" of rank {flat.rank[missing]}"))
    more = f"; and {len(circle) - _NAMED} more ranks" if len(circle) > _NAMED else ""
    return "; ".join(parts) + more
