"""V-Half and V-Min: building blocks of bounded lifespan, repeated and squeezed (arXiv 2405.15362).

A rank r holds stages r and 2p - 1 - r (V placement) and splits backwards. One micro-batch's six passes on each rank form a
building block on a grid of slots, one slot a pass. Every micro-batch repeats the block six slots later, so the passes of a
rank must fall on six different slots modulo six; the memory of the steady state is the sum of the block's lifespans (F to
W) over six. The block's four wavefronts (down, up in the forward; down, up in the backward) move one rank every ``pace``
slots: paces 1, 1, 1, 1 keep p/3 micro-batches (V-Min), paces 2, 1, 2, 1 keep p/2 (V-Half).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.simulator.schedules.list_scheduler import StagePasses, check_passes
from planner.simulator.schedules.schedule import Actions, Integers, Kind, Schedule, one_chain
from planner.simulator.schedules.squeeze import Row, run_in_order, squeeze

_PERIOD = 6


def v_half(ranks: int, micro_batches: int, passes: StagePasses | None = None) -> Schedule:
    """Half of 1F1B's activations on every rank at half of its bubble.

    With f = bi = w on equal stages and m >= p: a global bubble of (p - 1)(f + b)/2, less f/2 for odd p, and a peak of
    p/2 + 1 micro-batches (even p) or (p + 1)/2 (odd p) on the fullest rank.

    Args:
        passes: seconds by stage, all equal when left out; weight gradients go where they suit these seconds or equal ones,
            whichever ends first.

    Source: arXiv 2405.15362 (building blocks; V-Half).
    """
    turn = 3 if ranks % 2 == 0 else 0
    return _squeezed("v_half", _block(ranks, (2, 1, 2, 1), (0, turn, 1)), micro_batches, passes)


def v_min(ranks: int, micro_batches: int, passes: StagePasses | None = None) -> Schedule:
    """A third of 1F1B's activations on every rank at two thirds of its bubble.

    With f = bi = w on equal stages and m >= p: a global bubble of 2(p - 1)(f + b)/3, plus f/2 when 3 divides p and less
    f/2 otherwise; a peak of at most p/3 + 1, (p + 2)/3 or (p + 4)/3 micro-batches for p mod 3 = 0, 1, 2. Passes that
    last unequally long make every micro-batch wait, because the block leaves no slack.

    Args:
        passes: seconds by stage, all equal when left out; weight gradients go where they suit these seconds or equal ones,
            whichever ends first.

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
    check_passes(name, 6 * ranks * micro_batches)
    rank_of = np.concatenate([np.arange(ranks), np.arange(ranks)[::-1]]).astype(np.int64)
    orders = [_repeated(block, rank, micro_batches) for rank in range(ranks)]
    ones = [1.0] * (2 * ranks)
    best = squeeze(rank_of, orders, StagePasses(ones, ones, ones))
    if passes is not None:
        equal = run_in_order(rank_of, best.rows, passes)
        best = min(equal, squeeze(rank_of, orders, passes), key=lambda run: run.makespan_s)
    return one_chain(name, rank_of, micro_batches, tuple(Actions.of(rows) for rows in best.rows))


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
