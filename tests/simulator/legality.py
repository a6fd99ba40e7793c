"""Judges schedules by the rules of pipeline parallelism, written out here apart from the generators and the engine.

Legal means: every virtual stage lies on one rank and computes there, for each of its units (a micro-batch, or a slice of
one), the forward once and the backward once (B, or I and W, or a half of OVERLAP_F_B); and the ranks, each running its
list strictly in order, all get to its end although they wait for inputs and for room in the buffers between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from planner.simulator.schedules.schedule import Actions, Kind, Schedule

Pass = tuple[str, int, int]
"""(F, B, I or W; stage; unit)"""


class Illegal(AssertionError):
    """The schedule breaks a rule."""


def check_legal(schedule: Schedule, capacity: int | None = None) -> None:
    """Raises ``Illegal`` unless the schedule (its passes; transfers are implied) is legal.

    Args:
        capacity: messages that one rank may have sent to another and that are not used yet; None for no limit. An action
            whose output finds no room waits.
    """
    lists = [list(_passes(actions)) for actions in schedule.actions]
    _each_pass_once(schedule, lists)
    _slices_in_order(schedule, lists)
    waits = stuck(schedule, capacity)
    if waits:
        raise Illegal(f"with {capacity} buffers: {'; '.join(waits)}")


def smallest_capacity(schedule: Schedule) -> int:
    """The fewest buffers between two ranks with which the schedule runs to its end."""
    capacity = 1
    while stuck(schedule, capacity):
        capacity += 1
        if capacity > 3 * schedule.micro_batches * schedule.stages:
            raise Illegal("no number of buffers is enough")
    return capacity


def _passes(actions: Actions) -> Iterator[tuple[Pass, ...]]:
    """For each action its one pass, or its two."""
    rows = (actions.kind, actions.stage, actions.micro_batch, actions.stage2, actions.micro_batch2)
    for kind, stage, unit, stage2, unit2 in zip(*(column.tolist() for column in rows), strict=True):
        if kind == Kind.OVERLAP_F_B:
            yield ("F", stage, unit), ("B", stage2, unit2)
        else:
            if kind > Kind.OVERLAP_F_B:
                raise Illegal(f"{Kind(kind).name} is no pass")
            yield ((Kind(kind).name, stage, unit),)


def _each_pass_once(schedule: Schedule, lists: list[list[tuple[Pass, ...]]]) -> None:
    seen: Counter[Pass] = Counter()
    for rank, actions in enumerate(lists):
        for action in actions:
            for name, stage, unit in action:
                if schedule.rank_of[stage] != rank:
                    raise Illegal(f"rank {rank} runs {stage}{name}{unit} of rank {schedule.rank_of[stage]}")
                seen[name, stage, unit] += 1
    for stage in range(schedule.stages):
        first = int(schedule.first[stage])
        for unit in range(first, first + int(schedule.count[stage])):
            counts = tuple(seen.pop((name, stage, unit), 0) for name in "FBIW")
            if counts not in ((1, 1, 0, 0), (1, 0, 1, 1)):
                raise Illegal(f"stage {stage}, unit {unit}: (F, B, I, W) occur {counts} times")
    if seen:
        raise Illegal(f"units that the stage does not handle: {sorted(seen)[:3]}")


def _slices_in_order(schedule: Schedule, lists: list[list[tuple[Pass, ...]]]) -> None:
    """Causal attention: a slice needs the keys of those before it, and its gradient those of the slices after it."""
    if schedule.slices == 1:
        return
    last: dict[tuple[str, int, int], int] = {}
    for actions in lists:
        for action in actions:
            for name, stage, unit in action:
                micro_batch, piece = divmod(unit, schedule.slices)
                step = 1 if name == "F" else -1
                start = -1 if name == "F" else schedule.slices
                before = last.get((name, stage, micro_batch), start)
                if name != "W" and piece != before + step:
                    raise Illegal(
                        f"stage {stage}, micro-batch {micro_batch}: {name} of slice {piece} after {before}"
                    )
                last[name, stage, micro_batch] = piece


def stuck(schedule: Schedule, capacity: int | None = None) -> list[str]:
    """What the ranks that never reach the end of their list wait for; empty when all do."""
    run = _Run(schedule, capacity)
    moved = True
    while moved:
        moved = sum(run.advance(rank) for rank in range(schedule.ranks)) > 0
    return [
        f"rank {rank} waits at {actions[run.position[rank]]} for {run.obstacle(rank)}"
        for rank, actions in enumerate(run.lists)
        if run.position[rank] < len(actions)
    ]


class _Run:
    """Ranks that each run their list in order."""

    def __init__(self, schedule: Schedule, capacity: int | None) -> None:
        self.lists = [list(_passes(actions)) for actions in schedule.actions]
        self.rank_of = schedule.rank_of.tolist()
        self.before: dict[int, int] = {s: q for s, q in enumerate(schedule.previous.tolist()) if q >= 0}
        self.after = {earlier: later for later, earlier in self.before.items()}
        self.capacity = capacity
        self.position = [0] * schedule.ranks
        self.done: set[Pass] = set()
        self.unused: Counter[tuple[int, int]] = Counter()

    def advance(self, rank: int) -> bool:
        """Run the rank as far as it gets; whether it got anywhere."""
        moved = False
        while self.position[rank] < len(self.lists[rank]) and self.obstacle(rank) is None:
            for each in self.lists[rank][self.position[rank]]:
                self._finish(each)
            self.position[rank] += 1
            moved = True
        return moved

    def obstacle(self, rank: int) -> str | None:
        action = self.lists[rank][self.position[rank]]
        for each in action:
            for needed in self._inputs(each):
                if needed not in self.done:
                    return f"{needed}"
        sent: Counter[tuple[int, int]] = Counter(
            way for each in action if (way := self._way(each, sends=True)) is not None
        )
        for way, count in sent.items():
            if self.capacity is not None and self.unused[way] + count > self.capacity:
                return f"room between ranks {way[0]} and {way[1]}"
        return None

    def _inputs(self, each: Pass) -> list[Pass]:
        name, stage, unit = each
        if name == "F":
            return [("F", self.before[stage], unit)] if stage in self.before else []
        if name == "W":
            return [("I", stage, unit)]
        following = [("I", self.after[stage], unit)] if stage in self.after else []
        return [("F", stage, unit), *following]

    def _way(self, each: Pass, *, sends: bool) -> tuple[int, int] | None:
        """(from, to) of the message that a pass sends, or uses; None when there is none between ranks."""
        name, stage, _ = each
        if name == "W":
            return None
        other = (self.after if sends == (name == "F") else self.before).get(stage)
        if other is None or self.rank_of[other] == self.rank_of[stage]:
            return None
        here, there = self.rank_of[stage], self.rank_of[other]
        return (here, there) if sends else (there, here)

    def _finish(self, each: Pass) -> None:
        name, stage, unit = each
        self.done.add(("I" if name == "B" else name, stage, unit))
        used, sent = self._way(each, sends=False), self._way(each, sends=True)
        if used is not None:
            self.unused[used] -= 1
        if sent is not None:
            self.unused[sent] += 1
