"""Schedules in random, but possible, orders."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from planner.simulator.schedules.schedule import Actions, Kind, Schedule, one_chain

Pass = tuple[Kind, int, int]


def schedule_of(rank_of: list[int], micro_batches: int, rows: list[list[Pass]], slices: int = 1) -> Schedule:
    """One chain of stages with the given action lists."""
    return one_chain(
        "by hand", np.array(rank_of), micro_batches, tuple(Actions.of(list(row)) for row in rows), slices
    )


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """Any placement of up to 5 stages on up to 3 ranks; passes dealt out in a random order that their inputs allow."""
    ranks, micro_batches = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    stages = draw(st.integers(1, 5))
    rank_of = [draw(st.integers(0, ranks - 1)) for _ in range(stages)]
    split = [draw(st.booleans()) for _ in range(stages)]
    left: list[Pass] = []
    for stage in range(stages):
        kinds = (Kind.F, Kind.I, Kind.W) if split[stage] else (Kind.F, Kind.B)
        left += [(kind, stage, unit) for kind in kinds for unit in range(micro_batches)]
    rows: list[list[Pass]] = [[] for _ in range(ranks)]
    done: set[tuple[str, int, int]] = set()
    while left:
        ready = [one for one in left if all(need in done for need in _needs(one, stages))]
        kind, stage, unit = chosen = draw(st.sampled_from(ready))
        left.remove(chosen)
        rows[rank_of[stage]].append(chosen)
        done.add((_result(kind), stage, unit))
    return schedule_of(rank_of, micro_batches, rows)


def _needs(one: Pass, stages: int) -> list[tuple[str, int, int]]:
    kind, stage, unit = one
    if kind == Kind.F:
        return [("F", stage - 1, unit)] if stage else []
    if kind == Kind.W:
        return [("B", stage, unit)]
    return [("F", stage, unit)] + ([("B", stage + 1, unit)] if stage + 1 < stages else [])


def _result(kind: Kind) -> str:
    return "F" if kind == Kind.F else "W" if kind == Kind.W else "B"
