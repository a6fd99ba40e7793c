"""Squeeze orders of split-backward passes: keep the order of F and I, let W fill the holes under a memory cap."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Integers, Kind

Row = tuple[int, int, int]
"""(kind, stage, micro-batch)"""

_NEVER = float("inf")


@dataclass(frozen=True)
class TimedOrders:
    """Orders of the ranks and when the last pass of a run of them ends."""

    rows: list[list[Row]]
    makespan_s: float


def squeeze(rank_of: Integers, orders: Sequence[Sequence[Row]], passes: StagePasses) -> TimedOrders:
    """Orders in which F and I run as early as their given order allows, and W when the rank would wait or memory is full.

    Each rank may hold what its given order holds at most. The result cannot block: when a forward needs room, the
    given order had run enough weight gradients before it, whose input gradients come before it here too.

    Args:
        rank_of: (stages,), stages form one chain.
        orders: a legal order of F, I and W for every rank.
        passes: seconds by stage; their weight_gradient must be given.
    """
    kept = [[row for row in order if row[0] != Kind.W] for order in orders]
    return _Run(rank_of, kept, passes, [_peak(order) for order in orders]).run()


def run_in_order(rank_of: Integers, orders: Sequence[Sequence[Row]], passes: StagePasses) -> TimedOrders:
    """The same orders with the makespan that they have, every rank running its own strictly in order."""
    return _Run(rank_of, orders, passes, None).run()


def _peak(order: Sequence[Row]) -> int:
    """Stage passes held at most when the order runs."""
    change = np.array([(kind == Kind.F) - (kind == Kind.W) for kind, _, _ in order], dtype=np.int64)
    return int(np.cumsum(change).max(initial=1))


class _Run:
    """Ranks that take their next pass when its input is there; without a cap W is a pass of the order like others."""

    def __init__(
        self, rank_of: Integers, orders: Sequence[Sequence[Row]], passes: StagePasses, caps: list[int] | None
    ) -> None:
        assert passes.weight_gradient is not None
        units = 1 + max(unit for order in orders for _, _, unit in order)
        self.rank_of: list[int] = rank_of.tolist()
        self.orders = orders
        self.seconds = {
            int(Kind.F): passes.forward,
            int(Kind.I): passes.backward,
            int(Kind.W): passes.weight_gradient,
        }
        self.arrival = {int(kind): [[_NEVER] * units for _ in self.rank_of] for kind in (Kind.F, Kind.I)}
        self.arrival[Kind.F][0] = [0.0] * units
        self.arrival[Kind.W] = [[0.0] * units for _ in self.rank_of]
        self.caps = caps
        self.position = [0] * len(orders)
        self.held = [0] * len(orders)
        self.put_off: list[deque[Row]] = [deque() for _ in orders]
        self.blocked = [False] * len(orders)
        self.free: list[tuple[float, int]] = [(0.0, rank) for rank in range(len(orders))]

    def run(self) -> TimedOrders:
        result: list[list[Row]] = [[] for _ in self.orders]
        makespan = 0.0
        while self.free:
            now, rank = heapq.heappop(self.free)
            makespan = max(makespan, now)
            row, arrival = self._next(rank)
            full = (
                row is not None
                and row[0] == Kind.F
                and (self.caps is not None and self.held[rank] == self.caps[rank])
            )
            if row is not None and arrival <= now and not full:
                self.position[rank] += 1
            elif self.put_off[rank]:
                row = self.put_off[rank].popleft()
            elif arrival < _NEVER:
                heapq.heappush(self.free, (arrival, rank))
                continue
            else:
                self.blocked[rank] = True
                continue
            result[rank].append(row)
            self._start(now, rank, row)
        return TimedOrders(result, makespan)

    def _next(self, rank: int) -> tuple[Row | None, float]:
        """The next pass of the rank's order, and when its input is there."""
        if self.position[rank] == len(self.orders[rank]):
            return None, _NEVER
        kind, stage, unit = row = self.orders[rank][self.position[rank]]
        return row, self.arrival[kind][stage][unit]

    def _start(self, now: float, rank: int, row: Row) -> None:
        kind, stage, unit = row
        end = now + self.seconds[kind][stage]
        heapq.heappush(self.free, (end, rank))
        if kind == Kind.W:
            self.held[rank] -= 1
        elif kind == Kind.F:
            self.held[rank] += 1
            onward = (Kind.F, stage + 1) if stage + 1 < len(self.rank_of) else (Kind.I, stage)
            self._arrive(end, *onward, unit)
        else:
            if self.caps is not None:
                self.put_off[rank].append((int(Kind.W), stage, unit))
            if stage > 0:
                self._arrive(end, Kind.I, stage - 1, unit)

    def _arrive(self, end: float, kind: Kind, stage: int, unit: int) -> None:
        self.arrival[kind][stage][unit] = end
        rank = self.rank_of[stage]
        if self.blocked[rank] and self._next(rank)[1] < _NEVER:
            self.blocked[rank] = False
            heapq.heappush(self.free, (end, rank))
