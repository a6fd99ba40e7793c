"""V-Half and V-Min: building blocks of bounded lifespan, repeated and squeezed (arXiv 2405.15362).

A rank r holds stages r and 2p - 1 - r (V placement) and splits backwards. One micro-batch's six passes on each rank form a
building block on a grid of slots, one slot a pass. Every micro-batch repeats the block six slots later, so the passes of a
rank must fall on six different slots modulo six; the memory of the steady state is the sum of the block's lifespans (F to
W) over six. The block's four wavefronts (down, up in the forward; down, up in the backward) move one rank every ``pace``
slots: paces 1, 1, 1, 1 keep p/3 micro-batches (V-Min), paces 2, 1, 2, 1 keep p/2 (V-Half).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.simulator.schedules.list_scheduler import StagePasses
from planner.simulator.schedules.schedule import Actions, Integers, Kind, Schedule, one_chain

_PERIOD = 6

Row = tuple[int, int, int]


def v_half(ranks: int, micro_batches: int, passes: StagePasses | None = None) -> Schedule:
    """Half of 1F1B's activations on every rank at half of its bubble.

    With f = bi = w on equal stages and m >= 2p: a global bubble of (p - 1)(f + b)/2, less f/2 for odd p, and a peak of
    p/2 + 1 micro-batches (even p) or (p + 1)/2 (odd p) on every rank.

    Args:
        passes: seconds by stage, which decide where weight gradients go; all equal when left out.

    Source: arXiv 2405.15362 (building blocks; V-Half).
    """
    turn = 3 if ranks % 2 == 0 else 0
    return _squeezed("v_half", _block(ranks, (2, 1, 2, 1), (0, turn, 1)), micro_batches, passes)


def v_min(ranks: int, micro_batches: int, passes: StagePasses | None = None) -> Schedule:
    """A third of 1F1B's activations on every rank at two thirds of its bubble.

    With f = bi = w on equal stages and m >= 2p: a global bubble of 2(p - 1)(f + b)/3, plus f/2 when 3 divides p and less
    f/2 otherwise; a peak of p/3 + 1, (p + 2)/3 or (p + 4)/3 micro-batches for p mod 3 = 0, 1, 2 on every rank. Passes that
    last unequally long make every micro-batch wait, because the block leaves no slack.

    Args:
        passes: seconds by stage, which decide where weight gradients go; all equal when left out.

    Source: arXiv 2405.15362 (building blocks; V-Min).
    """
    turn = 2 if ranks % 3 == 0 else 0
    return _squeezed("v_min", _block(ranks, (1, 1, 1, 1), (0, turn, 0)), micro_batches, passes)


@dataclass(frozen=True, eq=False)
class Block:
    """Slots of one micro-batch's passes: (ranks,) each. 0: the stage on the way down, 1: on the way up."""

    forward0: Integers
    forward1: Integers
    input1: Integers
    input0: Integers
    weight1: Integers
    weight0: Integers


def _block(ranks: int, paces: tuple[int, int, int, int], turns: tuple[int, int, int]) -> Block:
    """The building block whose wavefronts have these paces and wait so many extra slots at the three turns."""
    down = np.arange(ranks, dtype=np.int64)
    up = down[::-1]
    forward0 = paces[0] * down
    forward1 = forward0[-1] + 1 + turns[0] + paces[1] * up
    input1 = forward1[0] + 1 + turns[1] + paces[2] * down
    input0 = input1[-1] + 1 + turns[2] + paces[3] * up
    taken = np.stack([forward0, forward1, input1, input0]) % _PERIOD
    pairs = [_weight_slots(taken[:, rank], input1[rank], input0[rank]) for rank in range(ranks)]
    weight1, weight0 = np.array(pairs, dtype=np.int64).T
    return Block(forward0, forward1, input1, input0, weight1, weight0)


def _weight_slots(taken: Integers, input1: int, input0: int) -> tuple[int, int]:
    """The earliest slots for the weight gradients of the two stages among the two residues that are free."""
    free = sorted(set(range(_PERIOD)) - set(taken.tolist()))
    choices = [
        (input1 + 1 + (one - input1 - 1) % _PERIOD, input0 + 1 + (other - input0 - 1) % _PERIOD)
        for one, other in (free, free[::-1])
    ]
    return min(choices, key=sum)


def _squeezed(name: str, block: Block, micro_batches: int, passes: StagePasses | None) -> Schedule:
    ranks = len(block.forward0)
    rank_of = np.concatenate([np.arange(ranks), np.arange(ranks)[::-1]]).astype(np.int64)
    if passes is None:
        ones = [1.0] * (2 * ranks)
        passes = StagePasses(ones, ones, ones)
    orders = [_repeated(block, rank, micro_batches) for rank in range(ranks)]
    cap = max(_peak(order) for order in orders)
    fill = _HoleFilling(rank_of.tolist(), orders, micro_batches, passes, cap)
    return one_chain(name, rank_of, micro_batches, tuple(Actions.of(rows) for rows in fill.run()))


def _repeated(block: Block, rank: int, micro_batches: int) -> list[Row]:
    """One rank's passes in the order of their slots."""
    first, second = rank, 2 * len(block.forward0) - 1 - rank
    passes = (
        (block.forward0, Kind.F, first),
        (block.forward1, Kind.F, second),
        (block.input1, Kind.I, second),
        (block.input0, Kind.I, first),
        (block.weight1, Kind.W, second),
        (block.weight0, Kind.W, first),
    )
    slots = np.array([slot[rank] for slot, _, _ in passes])
    times = (slots[:, None] + _PERIOD * np.arange(micro_batches)).ravel()
    rows = [(int(kind), stage, i) for _, kind, stage in passes for i in range(micro_batches)]
    return [rows[k] for k in np.argsort(times).tolist()]


def _peak(order: Sequence[Row]) -> int:
    """Stage passes held at most when the order runs."""
    change = np.array([(kind == Kind.F) - (kind == Kind.W) for kind, _, _ in order])
    return int(np.cumsum(change).max(initial=1))


class _HoleFilling:
    """Squeeze: forwards and input gradients keep the blocks' order and run as early as they can; weight gradients fill
    the holes, or make room when the memory is full.

    It cannot block: whatever a forward needs has run in the unsqueezed order before it, weight gradients included.
    """

    def __init__(
        self,
        rank_of: list[int],
        orders: list[list[Row]],
        micro_batches: int,
        passes: StagePasses,
        cap: int,
    ) -> None:
        self.rank_of = rank_of
        self.orders = [[row for row in order if row[0] != Kind.W] for order in orders]
        self.seconds = {
            Kind.F: passes.forward,
            Kind.I: passes.backward,
            Kind.W: passes.backward if passes.weight_gradient is None else passes.weight_gradient,
        }
        never = float("inf")
        self.arrival: dict[int, list[list[float]]] = {
            kind: [[never] * micro_batches for _ in rank_of] for kind in (Kind.F, Kind.I)
        }
        self.arrival[Kind.F][0] = [0.0] * micro_batches
        self.cap = cap
        self.position = [0] * len(orders)
        self.held = [0] * len(orders)
        self.waiting_weights: list[list[Row]] = [[] for _ in orders]
        self.blocked = [False] * len(orders)
        self.free: list[tuple[float, int]] = [(0.0, rank) for rank in range(len(orders))]

    def run(self) -> list[list[Row]]:
        """The passes of every rank in the order in which they start."""
        result: list[list[Row]] = [[] for _ in self.orders]
        while self.free:
            now, rank = heapq.heappop(self.free)
            row, arrival = self._next(rank)
            if row is not None and arrival <= now and (row[0] == Kind.I or self.held[rank] < self.cap):
                self.position[rank] += 1
                self._start(now, rank, row)
                result[rank].append(row)
            elif self.waiting_weights[rank]:
                row = self.waiting_weights[rank].pop(0)
                self.held[rank] -= 1
                result[rank].append(row)
                heapq.heappush(self.free, (now + self.seconds[Kind.W][row[1]], rank))
            elif arrival < float("inf"):
                heapq.heappush(self.free, (arrival, rank))
            else:
                self.blocked[rank] = True
        return result

    def _next(self, rank: int) -> tuple[Row | None, float]:
        """The rank's next forward or input gradient, and when its input is there."""
        if self.position[rank] == len(self.orders[rank]):
            return None, float("inf")
        row = self.orders[rank][self.position[rank]]
        return row, self.arrival[row[0]][row[1]][row[2]]

    def _start(self, now: float, rank: int, row: Row) -> None:
        kind, stage, micro_batch = row
        last = len(self.rank_of) - 1
        end = now + self.seconds[Kind(kind)][stage]
        heapq.heappush(self.free, (end, rank))
        if kind == Kind.F:
            self.held[rank] += 1
            self._send(end, (Kind.F, stage + 1) if stage < last else (Kind.I, stage), micro_batch)
            return
        self.waiting_weights[rank].append((int(Kind.W), stage, micro_batch))
        if stage > 0:
            self._send(end, (Kind.I, stage - 1), micro_batch)

    def _send(self, end: float, to: tuple[Kind, int], micro_batch: int) -> None:
        kind, stage = to
        self.arrival[kind][stage][micro_batch] = end
        rank = self.rank_of[stage]
        if self.blocked[rank] and self._next(rank)[1] < float("inf"):
            self.blocked[rank] = False
            heapq.heappush(self.free, (end, rank))
