"""Greedy list scheduling: a rank that is free takes the best pass that is ready and that its memory allows."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.schedule import Actions, Integers, Kind, Schedule, one_chain

Priority = Callable[[Kind, int, int], tuple[float, ...]]
"""(kind, stage, micro-batch) -> key; the smallest goes first."""


MAX_PASSES = 5_000_000
"""Orders are worked out pass by pass: more would take minutes."""


@dataclass(frozen=True)
class StagePasses:
    """Seconds of one micro-batch's passes by virtual stage, each (stages,).

    Args:
        backward: the whole backward, or without the weight gradient's part when that runs apart.
        weight_gradient: None keeps backwards whole (B); else they are split into I and W.
    """

    forward: Sequence[float]
    backward: Sequence[float]
    weight_gradient: Sequence[float] | None = None


def backward_first(kind: Kind, stage: int, micro_batch: int) -> tuple[float, ...]:
    """Backward before forward; among backwards the shallower stage, among forwards the deeper; weight gradients last."""
    rank = {Kind.W: 2, Kind.F: 1}.get(kind, 0)
    return (rank, stage if rank == 0 else -stage, micro_batch)


def forward_first(kind: Kind, stage: int, micro_batch: int) -> tuple[float, ...]:
    """Forward before backward, each of the oldest micro-batch, then of the deeper stage; weight gradients last."""
    rank = {Kind.W: 2, Kind.F: 0}.get(kind, 1)
    return (rank, micro_batch, -stage)


def list_schedule(
    name: str,
    rank_of: Integers,
    micro_batches: int,
    passes: StagePasses,
    *,
    cap: int | None = None,
    priority: Priority = backward_first,
) -> Schedule:
    """The schedule that greedy list scheduling gives on a placement: see ``best_list_schedule``, with one priority."""
    return best_list_schedule(name, rank_of, micro_batches, passes, cap=cap, priorities=(priority,))


def best_list_schedule(
    name: str,
    rank_of: Integers,
    micro_batches: int,
    passes: StagePasses,
    *,
    cap: int | None,
    priorities: Sequence[Priority],
) -> Schedule:
    """The shortest of the schedules that greedy list scheduling gives on a placement with several priorities.

    Args:
        rank_of: (stages,), the rank that holds each virtual stage; the stages form one chain.
        cap: stage passes whose activations a rank may hold at once (from the start of F to the end of B or W); at least
            its number of stages. A forward is let in only while the oldest micro-batch that has forwards left on the rank
            would still fit completely, so that no order of arrivals can block.
        priorities: which of the ready passes a free rank takes.

    Raises:
        PlannerError: the cap is too small to take one micro-batch through, or there are more than ``MAX_PASSES``.
    """
    check_passes(name, len(rank_of) * micro_batches * (2 if passes.weight_gradient is None else 3))
    chunks = int(np.bincount(rank_of).max())
    if cap is not None and cap < chunks:
        raise PlannerError(
            f"a rank must keep {chunks} stage passes for one micro-batch; the cap is {cap}", field="schedule"
        )
    runs = [_Greedy(rank_of.tolist(), micro_batches, passes, cap, priority) for priority in priorities]
    for run in runs:
        run.run()
    best = min(runs, key=lambda run: run.now)
    return one_chain(name, rank_of, micro_batches, tuple(Actions.of(rows) for rows in best.rows))


def check_passes(name: str, count: int) -> None:
    """Refuse a schedule whose order would take minutes to work out.

    Raises:
        PlannerError: more than ``MAX_PASSES`` passes.
    """
    if count > MAX_PASSES:
        raise PlannerError(
            f"{name} would have {count:,} passes; accepted: at most {MAX_PASSES:,}", field="schedule"
        )


class _Greedy:
    """State of the scheduling: who is busy, what is ready, what memory is held."""

    def __init__(
        self,
        rank_of: list[int],
        micro_batches: int,
        passes: StagePasses,
        cap: int | None,
        priority: Priority,
    ) -> None:
        ranks = max(rank_of) + 1
        self.rank_of = rank_of
        self.micro_batches = micro_batches
        self.split = passes.weight_gradient is not None
        self.seconds = {Kind.F: passes.forward, Kind.I: passes.backward, Kind.B: passes.backward}
        self.seconds[Kind.W] = passes.weight_gradient if passes.weight_gradient is not None else ()
        self.priority = priority
        self.memory = [_Memory(rank_of.count(rank), micro_batches, cap) for rank in range(ranks)]
        self.ready: list[dict[tuple[Kind, int], list[int]]] = [{} for _ in range(ranks)]
        self.rows: list[list[tuple[int, int, int]]] = [[] for _ in range(ranks)]
        self.busy = [False] * ranks
        self.now = 0.0
        self.ends: list[tuple[float, int, Kind, int, int]] = []

    def run(self) -> None:
        """Until every pass has run."""
        for micro_batch in range(self.micro_batches):
            self._add(Kind.F, 0, micro_batch)
        self._start(range(len(self.busy)))
        while self.ends:
            self.now = self.ends[0][0]
            touched: set[int] = set()
            while self.ends and self.ends[0][0] <= self.now * (1.0 + 1e-12):
                _, rank, kind, stage, micro_batch = heapq.heappop(self.ends)
                self.busy[rank] = False
                touched.add(rank)
                touched.update(self._finish(kind, stage, micro_batch))
            self._start(sorted(touched))

    def _start(self, ranks: Sequence[int]) -> None:
        for rank in ranks:
            if self.busy[rank]:
                continue
            best = self._best(rank)
            if best is None:
                continue
            kind, stage, micro_batch = best
            heapq.heappop(self.ready[rank][kind, stage])
            if kind == Kind.F:
                self.memory[rank].forward(micro_batch)
            self.busy[rank] = True
            self.rows[rank].append((int(kind), stage, micro_batch))
            end = self.now + self.seconds[kind][stage]
            heapq.heappush(self.ends, (end, rank, kind, stage, micro_batch))

    def _best(self, rank: int) -> tuple[Kind, int, int] | None:
        heads = [(kind, stage, queue[0]) for (kind, stage), queue in self.ready[rank].items() if queue]
        allowed = [head for head in heads if head[0] != Kind.F or self.memory[rank].lets_in(head[2])]
        return min(allowed, key=lambda head: self.priority(*head), default=None)

    def _add(self, kind: Kind, stage: int, micro_batch: int) -> int:
        rank = self.rank_of[stage]
        heapq.heappush(self.ready[rank].setdefault((kind, stage), []), micro_batch)
        return rank

    def _finish(self, kind: Kind, stage: int, micro_batch: int) -> list[int]:
        """Make ready what waited for the pass; the ranks where."""
        backward = Kind.I if self.split else Kind.B
        last = len(self.rank_of) - 1
        touched = []
        if kind == Kind.F:
            onward = (Kind.F, stage + 1) if stage < last else (backward, stage)
            touched.append(self._add(*onward, micro_batch))
        elif kind != Kind.W and stage > 0:
            touched.append(self._add(backward, stage - 1, micro_batch))
        if kind == Kind.I:
            touched.append(self._add(Kind.W, stage, micro_batch))
        elif kind != Kind.F:
            self.memory[self.rank_of[stage]].release()
        return touched


class _Memory:
    """What one rank holds, and whether another forward may come.

    Safe in the sense of the banker's algorithm: with j the oldest micro-batch that has forwards left here, what younger
    ones hold plus all chunks of j stays within the cap, so j can always pass once older ones are gone.
    """

    def __init__(self, chunks: int, micro_batches: int, cap: int | None) -> None:
        self.cap = cap
        self.left = [chunks] * micro_batches
        self.chunks = chunks
        self.held = 0
        self.oldest = 0
        self.held_by_younger = 0

    def lets_in(self, micro_batch: int) -> bool:
        if self.cap is None:
            return True
        if self.held + 1 > self.cap:
            return False
        return micro_batch == self.oldest or self.held_by_younger + 1 + self.chunks <= self.cap

    def forward(self, micro_batch: int) -> None:
        self.held += 1
        self.left[micro_batch] -= 1
        if micro_batch != self.oldest:
            self.held_by_younger += 1
        while self.oldest < len(self.left) and self.left[self.oldest] == 0:
            self.oldest += 1
            if self.oldest < len(self.left):
                self.held_by_younger -= self.chunks - self.left[self.oldest]

    def release(self) -> None:
        self.held -= 1
