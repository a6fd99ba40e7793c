"""A pipeline schedule run by an ordinary Python event loop: what the compiled engine is compared with."""

from __future__ import annotations

import heapq

from planner.simulator.schedules.schedule import NONE, Actions, Kind, Schedule

Result = tuple[str, int, int]
"""What a pass waits for at its rank: ("F" or "B", stage that made it, micro-batch)."""

DELIVERED, FREE = 0, 1


class EventLoop:
    """Ranks work their lists in order; a pass starts when its rank is free and its inputs have arrived."""

    def __init__(self, schedule: Schedule, seconds: dict[Kind, float], hop_s: float) -> None:
        self.rank_of = schedule.rank_of.tolist()
        self.previous, self.following = schedule.previous.tolist(), schedule.following.tolist()
        self.seconds, self.hop_s = seconds, hop_s
        self.lists = [_rows(actions) for actions in schedule.actions]
        self.place = [0] * schedule.ranks
        self.busy = [False] * schedule.ranks
        self.arrived: list[set[Result]] = [set() for _ in range(schedule.ranks)]
        self.events: list[tuple[float, int, int, Result | None]] = []
        self.handled = 0

    def run(self) -> float:
        """The makespan; ``handled`` then counts passes and transfers."""
        now = 0.0
        for rank in range(len(self.lists)):
            self.start(rank, now)
        while self.events:
            now, kind, rank, result = heapq.heappop(self.events)
            if kind == DELIVERED and result is not None:
                self.arrived[rank].add(result)
            else:
                self.finish(rank, now)
            self.start(rank, now)
        return now

    def start(self, rank: int, now: float) -> None:
        """Start the rank's next pass if it can."""
        if self.busy[rank] or self.place[rank] == len(self.lists[rank]):
            return
        kind, *halves = self.lists[rank][self.place[rank]]
        if all(result in self.arrived[rank] for result in self.inputs(kind, halves)):
            self.busy[rank] = True
            heapq.heappush(self.events, (now + self.seconds[kind], FREE, rank, None))

    def finish(self, rank: int, now: float) -> None:
        """The rank's pass has ended: hand on what it made."""
        kind, stage, unit, stage2, unit2 = self.lists[rank][self.place[rank]]
        self.busy[rank] = False
        self.place[rank] += 1
        self.handled += 1
        if kind in (Kind.F, Kind.OVERLAP_F_B):
            self.deliver(("F", stage, unit), rank, self.following[stage], now)
        if kind == Kind.OVERLAP_F_B:
            self.deliver(("B", stage2, unit2), rank, self.previous[stage2], now)
        if kind in (Kind.B, Kind.I):
            self.deliver(("B", stage, unit), rank, self.previous[stage], now)

    def deliver(self, result: Result, rank: int, stage: int, now: float) -> None:
        """Keep a result, and send it to the rank of the stage that needs it."""
        self.arrived[rank].add(result)
        if stage != NONE and self.rank_of[stage] != rank:
            self.handled += self.hop_s > 0
            heapq.heappush(self.events, (now + self.hop_s, DELIVERED, self.rank_of[stage], result))

    def inputs(self, kind: int, halves: list[int]) -> list[Result]:
        """Results that a pass needs."""
        stage, unit, stage2, unit2 = halves
        if kind == Kind.W:
            return [("B", stage, unit)]
        needed: list[Result] = []
        if kind in (Kind.F, Kind.OVERLAP_F_B) and self.previous[stage] != NONE:
            needed.append(("F", self.previous[stage], unit))
        if kind == Kind.OVERLAP_F_B:
            stage, unit = stage2, unit2
        if kind != Kind.F:
            needed.append(("F", stage, unit))
            if self.following[stage] != NONE:
                needed.append(("B", self.following[stage], unit))
        return needed


def _rows(actions: Actions) -> list[tuple[int, int, int, int, int]]:
    columns = (actions.kind, actions.stage, actions.micro_batch, actions.stage2, actions.micro_batch2)
    return list(zip(*(column.tolist() for column in columns), strict=True))
