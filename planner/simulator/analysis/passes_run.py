"""When every pass of a schedule ran: the tasks of a program put together to the actions that they came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.simulator.analysis.columns import compute_actor
from planner.simulator.program import NONE, Execution, Floats, Integers, Program, TaskKind, What
from planner.simulator.schedules.schedule import Kind, Schedule

KIND_OF = {
    What.FORWARD: Kind.F,
    What.BACKWARD: Kind.B,
    What.INPUT_GRADIENT: Kind.I,
    What.WEIGHT_GRADIENT: Kind.W,
    What.FORWARD_BACKWARD: Kind.OVERLAP_F_B,
}


def unit_name(unit: int, slices: int) -> str:
    """What a schedule calls a micro-batch: its number; with sequences cut in slices ``micro-batch.slice``."""
    return str(unit) if slices == 1 else f"{unit // slices}.{unit % slices}"


@dataclass(frozen=True, eq=False)
class PassesRun:
    """Passes in the order of actor and start; columns of equal length.

    Args:
        kind: codes of ``Kind``.
        stage2, micro_batch2: of fused passes the backward half, else ``NONE``.
        start, end: seconds, from the first of its tasks to the last.
        slices: of the schedule; ``micro_batch`` counts slices of micro-batches where it is above 1.
    """

    actor: Integers
    kind: Integers
    stage: Integers
    micro_batch: Integers
    stage2: Integers
    micro_batch2: Integers
    start: Floats
    end: Floats
    slices: int = 1

    def __len__(self) -> int:
        return len(self.kind)

    def of(self, actor: int) -> PassesRun:
        """Those of one actor."""
        first, last = np.searchsorted(self.actor, [actor, actor + 1])
        columns = {name: getattr(self, name)[first:last] for name in _COLUMNS}
        return PassesRun(**columns, slices=self.slices)

    def name(self, index: int) -> str:
        """A pass in words: "B of stage 3, micro-batch 7"."""
        kind = Kind(int(self.kind[index]))
        first = self._half(self.stage, self.micro_batch, index)
        if kind == Kind.OVERLAP_F_B:
            return f"F of {first} with B of {self._half(self.stage2, self.micro_batch2, index)}"
        return f"{kind.name} of {first}"

    def _half(self, stage: Integers, micro_batch: Integers, index: int) -> str:
        return f"stage {stage[index]}, micro-batch {unit_name(int(micro_batch[index]), self.slices)}"


_COLUMNS = ("actor", "kind", "stage", "micro_batch", "stage2", "micro_batch2", "start", "end")


def passes_run(program: Program, execution: Execution, schedule: Schedule) -> PassesRun:
    """When every pass ran.

    Args:
        schedule: tells the backward half of fused passes.
    """
    tasks = program.tasks
    codes = np.full(max(What) + 1, NONE, dtype=np.int64)
    for what, kind in KIND_OF.items():
        codes[what] = kind
    computing = compute_actor(program)
    passes = np.flatnonzero(
        (computing != NONE)
        & (tasks.kind == TaskKind.COMPUTE)
        & (codes[tasks.what] != NONE)
        & (tasks.stage != NONE)
    )
    columns = (computing[passes], codes[tasks.what[passes]], tasks.stage[passes], tasks.micro_batch[passes])
    order = np.lexsort(columns[::-1])
    rows = np.stack(columns)[:, order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    owner = np.cumsum(new) - 1
    rows = rows[:, new]
    start, end = np.full(rows.shape[1], np.inf), np.zeros(rows.shape[1])
    np.minimum.at(start, owner, execution.start[passes][order])
    np.maximum.at(end, owner, execution.end[passes][order])
    stage2, micro_batch2 = _backward_halves(rows, schedule)
    sequence = np.lexsort((end, start, rows[0]))
    actor, kind, stage, micro_batch = (row[sequence] for row in rows)
    return PassesRun(
        actor=actor,
        kind=kind,
        stage=stage,
        micro_batch=micro_batch,
        stage2=stage2[sequence],
        micro_batch2=micro_batch2[sequence],
        start=start[sequence],
        end=end[sequence],
        slices=schedule.slices,
    )


def _backward_halves(rows: Integers, schedule: Schedule) -> tuple[Integers, Integers]:
    """Stage and micro-batch of the backward half of every fused pass, found by its forward half."""
    units = schedule.micro_batches
    keys, values = [], []
    for actions in schedule.actions:
        fused = np.flatnonzero(actions.kind == Kind.OVERLAP_F_B)
        keys.append(actions.stage[fused] * units + actions.micro_batch[fused])
        values.append(actions.stage2[fused] * units + actions.micro_batch2[fused])
    known, other = np.concatenate(keys), np.concatenate(values)
    stage2, micro_batch2 = np.full(rows.shape[1], NONE), np.full(rows.shape[1], NONE)
    mine = np.flatnonzero(rows[1] == Kind.OVERLAP_F_B)
    if len(mine) and len(known):
        order = np.argsort(known)
        found = order[np.searchsorted(known[order], rows[2, mine] * units + rows[3, mine])]
        stage2[mine], micro_batch2[mine] = other[found] // units, other[found] % units
    return stage2, micro_batch2
