"""From a schedule of passes to one that also sends, receives, gathers parameters and reduces gradients, and back."""

from __future__ import annotations

from dataclasses import replace

from planner.errors import PlannerError
from planner.simulator.schedules.check import deadlock
from planner.simulator.schedules.schedule import NONE, Actions, Kind, Schedule
from planner.simulator.schedules.tokens import Row, rows


def with_transfers(schedule: Schedule) -> Schedule:
    """The schedule with SEND and RECV between ranks, UNSHARD, RESHARD and REDUCE_GRAD of every stage.

    A send follows the pass whose result it carries; its receive is put into the other rank's list at that moment of a run
    in which ranks take turns. All ranks thus see the transfers in one common order, so that they cannot block one another
    even when a rank runs its transfers strictly one after the other, as NCCL does on one communicator. A stage gathers its
    parameters before its first pass; after its last it reduces its gradients and drops the gathered parameters.

    Raises:
        PlannerError: the schedule already has such actions, or cannot run to its end.
    """
    if any(bool((actions.kind > Kind.OVERLAP_F_B).any()) for actions in schedule.actions):
        raise PlannerError(f"{schedule.name} already says what is sent and received", field="schedule")
    waits = deadlock(schedule)
    if waits is not None:
        raise PlannerError(f"{schedule.name} deadlocks: {waits}", field="schedule")
    lowering = _Lowering(schedule)
    return replace(schedule, actions=tuple(Actions.of(result) for result in lowering.run()))


def without_transfers(schedule: Schedule) -> Schedule:
    """The passes of a schedule alone, in their order: transfers follow from them."""

    def passes(actions: Actions) -> Actions:
        kept = actions.kind <= Kind.OVERLAP_F_B
        columns = (actions.kind, actions.stage, actions.micro_batch, actions.stage2, actions.micro_batch2)
        return Actions(*(column[kept] for column in columns))

    return replace(schedule, actions=tuple(passes(actions) for actions in schedule.actions))


class _Lowering:
    """Runs the ranks in turns, each as far as its inputs reach."""

    def __init__(self, schedule: Schedule) -> None:
        self.rank_of = schedule.rank_of.tolist()
        self.previous = schedule.previous.tolist()
        self.following = schedule.following.tolist()
        self.lists = [rows(actions) for actions in schedule.actions]
        self.left = [0] * schedule.stages
        for listed in self.lists:
            for row in listed:
                for _, stage, _ in _passes(row):
                    self.left[stage] += 1
        self.total = list(self.left)
        self.position = [0] * schedule.ranks
        self.done: set[tuple[Kind, int, int]] = set()
        self.result: list[list[Row]] = [[] for _ in self.lists]

    def run(self) -> list[list[Row]]:
        """The lowered lists."""
        while any(self.position[rank] < len(listed) for rank, listed in enumerate(self.lists)):
            for rank, listed in enumerate(self.lists):
                if self.position[rank] < len(listed) and self._ready(listed[self.position[rank]]):
                    self._perform(rank, listed[self.position[rank]])
                    self.position[rank] += 1
        return self.result

    def _ready(self, row: Row) -> bool:
        for kind, stage, unit in _passes(row):
            source = self._source(kind, stage)
            if source != NONE and (_result(kind), source, unit) not in self.done:
                return False
        return True

    def _source(self, kind: Kind, stage: int) -> int:
        if kind == Kind.W:
            return NONE
        return int(self.previous[stage] if kind == Kind.F else self.following[stage])

    def _perform(self, rank: int, row: Row) -> None:
        out = self.result[rank]
        passes = _passes(row)
        out.extend(
            _of_stage(Kind.UNSHARD, stage)
            for stage in dict.fromkeys(stage for _, stage, _ in passes)
            if self.left[stage] == self.total[stage]
        )
        out.append(row)
        for kind, stage, unit in passes:
            self.done.add((_result(kind), stage, unit))
            self._send(kind, stage, unit)
            self.left[stage] -= 1
            if self.left[stage] == 0:
                out.extend((_of_stage(Kind.REDUCE_GRAD, stage), _of_stage(Kind.RESHARD, stage)))

    def _send(self, kind: Kind, stage: int, unit: int) -> None:
        if kind == Kind.W:
            return
        forward = kind == Kind.F
        to = self.following[stage] if forward else self.previous[stage]
        if to == NONE or self.rank_of[to] == self.rank_of[stage]:
            return
        send, receive = (Kind.SEND_F, Kind.RECV_F) if forward else (Kind.SEND_B, Kind.RECV_B)
        self.result[self.rank_of[stage]].append((int(send), stage, unit, NONE, NONE))
        self.result[self.rank_of[to]].append((int(receive), to, unit, NONE, NONE))


def _passes(row: Row) -> list[tuple[Kind, int, int]]:
    kind, stage, unit, stage2, unit2 = row
    if kind == Kind.OVERLAP_F_B:
        return [(Kind.F, stage, unit), (Kind.B, stage2, unit2)]
    return [(Kind(kind), stage, unit)]


def _result(kind: Kind) -> Kind:
    """What others wait for: I and B both give the input's gradient."""
    return Kind.I if kind == Kind.B else kind


def _of_stage(kind: Kind, stage: int) -> Row:
    return (int(kind), stage, NONE, NONE, NONE)
