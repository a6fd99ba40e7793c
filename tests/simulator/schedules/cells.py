"""Actions as the cells of PyTorch's schedule tables, to compare with and to read."""

from __future__ import annotations

from planner.simulator.schedules.schedule import NONE, Actions, Kind, Schedule


def cells(actions: Actions) -> list[str]:
    """The actions of one rank, for example ``2F0`` or ``(0F7;7B3)OVERLAP_F_B``."""
    columns = (actions.kind, actions.stage, actions.micro_batch, actions.stage2, actions.micro_batch2)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [cell(*row) for row in rows]


def cell(kind: int, stage: int, micro_batch: int, stage2: int = NONE, micro_batch2: int = NONE) -> str:
    """One action."""
    if kind == Kind.OVERLAP_F_B:
        return f"({stage}F{micro_batch};{stage2}B{micro_batch2})OVERLAP_F_B"
    assert (stage2, micro_batch2) == (NONE, NONE)
    return f"{stage}{Kind(kind).name}{micro_batch}"


def table(schedule: Schedule) -> dict[int, list[str]]:
    """The cells of every rank."""
    return {rank: cells(actions) for rank, actions in enumerate(schedule.actions)}
