"""Two chunks per rank in a V, stages r and 2p - 1 - r on rank r: ZB-V and DualPipeV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.ordering import Token, keep, number, repeat
from planner.simulator.schedules.schedule import NONE, Integers, Kind, Schedule, one_chain

F0, F1 = (Kind.F, 0, NONE), (Kind.F, 1, NONE)
B0, B1 = (Kind.B, 0, NONE), (Kind.B, 1, NONE)
I0, I1 = (Kind.I, 0, NONE), (Kind.I, 1, NONE)
W0, W1 = (Kind.W, 0, NONE), (Kind.W, 1, NONE)
F0_B1, F1_B0 = (Kind.OVERLAP_F_B, 0, 1), (Kind.OVERLAP_F_B, 1, 0)


def zb_v(ranks: int, micro_batches: int) -> Schedule:
    """Zero-bubble V: no wait between a rank's passes when F, B and W take equal time (arXiv 2401.10241, section 6).

    The order of PyTorch 2.13. With fewer than 2p - 1 micro-batches it is the order of 2p - 1 without the missing ones.
    """
    planned = max(2 * ranks - 1, micro_batches)
    actions = []
    for rank in range(ranks):
        full = number(_zb_v_order(ranks, rank, planned), [rank, 2 * ranks - 1 - rank])
        actions.append(keep(full, np.flatnonzero(full.micro_batch < micro_batches)))
    return one_chain("zb_v", v_placement(ranks), micro_batches, tuple(actions))


def dualpipe_v(ranks: int, micro_batches: int) -> Schedule:
    """DualPipe cut in half: both directions run on one set of stages (github.com/deepseek-ai/DualPipe; PyTorch 2.13).

    Raises:
        PlannerError: fewer micro-batches than stages.
    """
    if micro_batches < 2 * ranks:
        raise PlannerError(
            f"dualpipe_v with {micro_batches} micro-batches on {ranks} ranks; accepted: at least {2 * ranks}",
            field="schedule",
        )
    actions = tuple(
        number(dual_order(ranks, rank, micro_batches), [rank, 2 * ranks - 1 - rank]) for rank in range(ranks)
    )
    return one_chain("dualpipe_v", v_placement(ranks), micro_batches, actions)


def v_placement(ranks: int) -> Integers:
    """(2p,): stages r and 2p - 1 - r on rank r."""
    down = np.arange(ranks, dtype=np.int64)
    return np.concatenate([down, down[::-1]])


def _zb_v_order(ranks: int, rank: int, micro_batches: int) -> Integers:
    """Tokens of one rank: fill both arms, hold F-B-W of both arms in turn, drain; W of the drain fills the end."""
    ahead = 2 * ranks - 1 - rank
    return repeat(
        [
            (2 * (ranks - rank) - 1, [F0]),
            (rank, [F1, F0]),
            (ranks - rank, [F1, I1, W1]),
            (micro_batches - ahead, [F0, I0, W0, F1, I1, W1]),
            (ahead - ranks, [I0, W0, F1, I1, W1]),
            (rank, [I0, I1]),
            (ranks - rank, [I0, W0]),
            (rank, [W1]),
            (rank, [W0]),
        ]
    )


def dual_order(depth: int, rank: int, micro_batches: int) -> Integers:
    """Tokens of one rank in the eight steps of DualPipe (arXiv 2412.19437, figure 5; deepseek-ai/DualPipe).

    Args:
        depth: ranks from an end of the pipeline to the turn: p for DualPipeV, half of the ranks for DualPipe.
        rank: distance from the end.
        micro_batches: of one direction.
    """
    turn = depth - 1 - rank
    steady = micro_batches - 2 * depth + rank + 1
    drain = _drain(rank + 1)
    waiting = [chunk for kind, chunk, _ in drain if kind == Kind.I] + [0] * turn
    weights: list[Token] = [(Kind.W, chunk, NONE) for chunk in waiting]
    blocks: list[tuple[int, Sequence[Token]]] = [
        (2 * turn, [F0]),
        (rank + 1, [F0, F1]),
        (turn, [I1, W1, F1]),
    ]
    if turn == 0:
        # At the turn nothing is left to wait for: two passes instead of a fused pair let the neighbour start earlier.
        blocks += [(1, [F0, B1, F1_B0]), (steady - 1, [F0_B1, F1_B0])]
    else:
        blocks.append((steady, [F0_B1, F1_B0]))
    blocks += [(turn, [B1, F1_B0]), (1, drain)]
    blocks += [(1, [weight, I0]) for weight in weights[:turn]]
    return repeat([*blocks, (1, weights[turn:])])


def _drain(pairs: int) -> list[Token]:
    """The last backwards of both chunks in turn; the second half of them keeps its weight gradients for later."""
    return [(Kind.B if place < pairs else Kind.I, 1 - place % 2, NONE) for place in range(2 * pairs)]
